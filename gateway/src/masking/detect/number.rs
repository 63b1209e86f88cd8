//! Finds numbers that carry their own check: payment cards, US social security numbers, IBANs.
//!
//! In: bytes. Out: where each stands. Two bytes of every ten are looked at until they can belong to one; nothing is
//! read twice more than a fixed number of times, so that the time is linear in the input whatever it holds.

use super::iban;

/// The shortest of all: `123-45-6789`.
const SHORTEST: usize = 11;
/// Card numbers have 13 to 19 digits (ISO/IEC 7812-1).
const CARD_DIGITS: usize = 19;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Card,
    Ssn,
    Iban,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) card: bool,
    pub(super) ssn: bool,
    pub(super) iban: bool,
}

impl Wanted {
    fn any(self) -> bool {
        self.card || self.ssn || self.iban
    }
}

const NONE: u8 = 0;
const SEPARATOR: u8 = 1;
const DIGIT: u8 = 2;
const UPPER: u8 = 3;

/// What a byte can be in a number.
const ROLE: [u8; 256] = {
    let mut roles = [NONE; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            roles[byte] = match byte as u8 {
                b'0'..=b'9' => DIGIT,
                b'A'..=b'Z' => UPPER,
                b' ' | b'-' => SEPARATOR,
                _ => NONE,
            };
        }
        byte += 1;
    }
    roles
};

/// Bit 0: part of a number; bit 1: and no separator.
const PART: [u8; 256] = {
    let mut parts = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            parts[byte] = match ROLE[byte] {
                NONE => 0,
                SEPARATOR => 1,
                _ => 3,
            };
        }
        byte += 1;
    }
    parts
};

fn role(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).and_then(|byte| ROLE.get(usize::from(*byte))).copied().unwrap_or(NONE)
}

fn is_digit(bytes: &[u8], at: usize) -> bool {
    role(bytes, at) == DIGIT
}

/// The byte before, of which there is none at the start.
fn before(bytes: &[u8], at: usize, back: usize) -> Option<u8> {
    bytes.get(at.checked_sub(back)?).copied()
}

/// Runs of digits, capitals and separators that are long enough to hold a number.
pub(super) struct Runs<'b> {
    bytes: &'b [u8],
    /// No run begins before.
    floor: usize,
    probe: usize,
}

impl<'b> Runs<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, floor: 0, probe: SHORTEST - 2 }
    }
}

impl Iterator for Runs<'_> {
    type Item = std::ops::Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        // A run of eleven bytes covers one of every ten pairs, and no number has two separators side by side.
        while let Some(&[a, b]) = self.bytes.get(self.probe..).and_then(|rest| rest.first_chunk()) {
            let (a, b) = (PART.get(usize::from(a))?, PART.get(usize::from(b))?);
            // Both at once: a branch for each byte is guessed wrong too often where bytes are random.
            if a & b & ((a | b) >> 1) == 0 {
                self.probe += SHORTEST - 1;
                continue;
            }
            let mut start = self.probe;
            while start > self.floor && role(self.bytes, start - 1) != NONE {
                start -= 1;
            }
            let mut end = self.probe + 2;
            while role(self.bytes, end) != NONE {
                end += 1;
            }
            self.floor = end;
            self.probe = end + SHORTEST - 1;
            if end - start >= SHORTEST {
                return Some(start..end);
            }
        }
        None
    }
}

/// Tells every number of `bytes`.
pub(super) fn find(bytes: &[u8], wanted: Wanted, found: &mut impl FnMut(std::ops::Range<usize>, Number)) {
    if !wanted.any() {
        return;
    }
    for run in Runs::new(bytes) {
        let mut at = run.start;
        while at < run.end {
            match at_position(bytes, at, wanted) {
                Some((end, number)) => {
                    found(at..end, number);
                    at = end;
                }
                None if is_digit(bytes, at) => at = digits_end(bytes, at),
                None => at += 1,
            }
        }
    }
}

fn at_position(bytes: &[u8], at: usize, wanted: Wanted) -> Option<(usize, Number)> {
    match role(bytes, at) {
        DIGIT => {
            let card = wanted.card.then(|| card(bytes, at)).flatten().map(|end| (end, Number::Card));
            card.or_else(|| wanted.ssn.then(|| ssn(bytes, at)).flatten().map(|end| (end, Number::Ssn)))
        }
        UPPER if wanted.iban => iban::find(bytes, at).map(|end| (end, Number::Iban)),
        _ => None,
    }
}

fn digits_end(bytes: &[u8], at: usize) -> usize {
    let count = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
    at + count
}

/// The end of the card number that begins here: the longest one.
fn card(bytes: &[u8], start: usize) -> Option<usize> {
    // Other leading digits belong to no network.
    if !matches!(bytes.get(start), Some(b'2'..=b'6')) || is_part_of_fraction(bytes, start) {
        return None;
    }
    let mut digits = [0_u8; CARD_DIGITS];
    let mut count = 0;
    let mut at = start;
    let mut best = None;
    let mut group = 0;
    loop {
        match bytes.get(at) {
            Some(byte @ b'0'..=b'9') => {
                *digits.get_mut(count)? = byte - b'0';
                count += 1;
                group += 1;
                at += 1;
                // A 20th digit in this group: what ended at an earlier group still counts.
                if count == CARD_DIGITS && is_digit(bytes, at) {
                    return best;
                }
            }
            other => {
                let number = digits.get(..count).unwrap_or_default();
                // Printed groups have three to six digits (4-4-4-4, 4-6-5), the first has four: a process's number and a
                // counter beside it, as names of temporary files have, are none.
                if count > group && group > 6 {
                    return best;
                }
                if is_card(number) && !is_part_of_hex(bytes, start, at) && !is_fraction_next(bytes, at) {
                    best = Some(at);
                }
                let goes_on = matches!(other, Some(b' ' | b'-')) && is_digit(bytes, at + 1);
                if !goes_on || group < 3 || (count == group && group != 4) || count == CARD_DIGITS {
                    return best;
                }
                group = 0;
                at += 1;
            }
        }
    }
}

/// Whether the networks give out this number: issuer range and length, then the check digit (ISO/IEC 7812-1, Luhn).
fn is_card(digits: &[u8]) -> bool {
    let Some(head) = digits.first_chunk::<6>() else { return false };
    let six = head.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let lengths = match six {
        // Visa; Mastercard; American Express; Diners Club.
        400_000..=499_999 => &[13, 16, 19][..],
        510_000..=559_999 | 222_100..=272_099 => &[16],
        340_000..=349_999 | 370_000..=379_999 => &[15],
        300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999 => &[14, 16, 17, 18, 19],
        // JCB; UnionPay, Discover, RuPay, Maestro; Mir.
        352_800..=358_999 | 620_000..=629_999 | 601_100..=601_199 | 644_000..=659_999 => &[16, 17, 18, 19],
        500_000..=509_999 | 560_000..=589_999 | 600_000..=600_999 | 630_000..=643_999 | 670_000..=679_999 => {
            &[13, 14, 15, 16, 17, 18, 19]
        }
        220_000..=220_499 => &[16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len()) && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| {
        let digit = u32::from(*digit);
        let value = if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 };
        sum + value
    });
    sum.is_multiple_of(10)
}

/// `0.4242…`: a fraction, of which there are many.
fn is_part_of_fraction(bytes: &[u8], start: usize) -> bool {
    before(bytes, start, 1) == Some(b'.') && before(bytes, start, 2).is_some_and(|byte| byte.is_ascii_digit())
}

fn is_fraction_next(bytes: &[u8], end: usize) -> bool {
    bytes.get(end) == Some(&b'.') && is_digit(bytes, end + 1)
}

/// Whether the digits stand in a digest or another long hexadecimal word.
fn is_part_of_hex(bytes: &[u8], start: usize, end: usize) -> bool {
    const WORD: usize = 24;
    let hex = |byte: &&u8| byte.is_ascii_hexdigit();
    let left = bytes.get(..start).unwrap_or_default().iter().rev().take(WORD).take_while(hex).count();
    let right = bytes.get(end..).unwrap_or_default().iter().take(WORD).take_while(hex).count();
    left + right > 0 && left + right + (end - start) >= WORD
}

/// The end of the social security number that begins here: area, group and serial, none of them zero, the area neither
/// 666 nor from 900 (Social Security Administration, POMS RM 10201.035).
fn ssn(bytes: &[u8], start: usize) -> Option<usize> {
    let end = start + SHORTEST;
    let &[a, b, c, first, d, e, second, f, g, h, i] = bytes.get(start..end)?.first_chunk::<SHORTEST>()?;
    let is_shape = [a, b, c, d, e, f, g, h, i].iter().all(u8::is_ascii_digit) && first == second;
    let area = [a, b, c];
    let is_valid = area != *b"000" && area != *b"666" && a != b'9' && [d, e] != *b"00" && [f, g, h, i] != *b"0000";
    if !is_shape || !matches!(first, b'-' | b' ') || !is_valid {
        return None;
    }
    // A longer number that is written in groups is something else.
    let joins = |byte: Option<u8>| byte == Some(first) || byte == Some(b'-');
    let goes_on = is_digit(bytes, end) || (joins(bytes.get(end).copied()) && is_digit(bytes, end + 1));
    let begins = before(bytes, start, 1).is_some_and(|byte| byte.is_ascii_digit())
        || (joins(before(bytes, start, 1)) && before(bytes, start, 2).is_some_and(|byte| byte.is_ascii_digit()));
    (!goes_on && !begins).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted = Wanted { card: true, ssn: true, iban: true };

    fn found(text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        find(text.as_bytes(), ALL, &mut |range, _| all.push(text.get(range).unwrap()));
        all
    }

    #[test]
    fn finds_cards_of_every_network_as_they_are_written() {
        for card in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
            "6200000000000005",
            "4222222222222",
        ] {
            assert_eq!(found(card), [card]);
            for text in
                [format!("card {card}, 12/27"), format!("\"{card}\""), format!("x{card}y"), format!("\\n{card}\\n")]
            {
                assert_eq!(found(&text), [card], "{text}");
            }
        }
        assert_eq!(found("4242 4242 4242 4242 12 27"), ["4242 4242 4242 4242"]);
        assert_eq!(found("12 4242424242424242"), ["4242424242424242"]);
    }

    #[test]
    fn leaves_numbers_alone_that_are_no_cards() {
        for text in [
            "4242424242424243",
            "1700000000000000",
            "0.4242424242424242",
            "42424242424242424242",
            "4242424242424242.5",
            "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
            "d41d8cd98f00b204424242424242424298ecf842",
            "2024-01-15 2024-01-16",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn knows_the_rules_of_social_security_numbers() {
        assert_eq!(found("ssn=123-45-6789;"), ["123-45-6789"]);
        assert_eq!(found("{123-45-6789,234 56 7890}"), ["123-45-6789", "234 56 7890"]);
        for text in [
            "000-45-6789",
            "666-45-6789",
            "912-45-6789",
            "123-00-6789",
            "123-45-0000",
            "123-45 6789",
            "1-123-45-6789",
            "123-45-6789-0",
            "123-45-67890",
            "123456789",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn finds_ibans_with_and_without_spaces() {
        assert_eq!(found("DE89370400440532013000"), ["DE89370400440532013000"]);
        assert_eq!(found("an GB82 WEST 1234 5698 7654 32 bitte"), ["GB82 WEST 1234 5698 7654 32"]);
        assert_eq!(found("NO9386011117947"), ["NO9386011117947"]);
        assert!(found("DE89370400440532013001 GB82WEST1234569876543 XDE89370400440532013000").is_empty());
    }

    #[test]
    fn finds_a_number_wherever_it_stands() {
        for secret in ["123-45-6789", "4242424242424242", "NO9386011117947"] {
            for offset in 0..40 {
                for filler in ["x", " ", "a b ", "Ab- ", "•"] {
                    let text = format!("{}.{secret}", filler.repeat(offset));
                    assert_eq!(found(&text), [secret], "{text}");
                }
            }
        }
    }
}
