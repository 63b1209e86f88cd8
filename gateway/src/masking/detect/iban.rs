//! International bank account numbers (ISO 13616).
//!
//! In: bytes and a place. Out: where the number ends that begins there, by its country's length and its check digits.
// TABLE:

/// Length by country (SWIFT, IBAN Registry), in the order of the codes.
const LENGTHS: [([u8; 2], usize); 89] = [
    (*b"AD", 24),
    (*b"AE", 23),
    (*b"AL", 28),
    (*b"AT", 20),
    (*b"AZ", 28),
    (*b"BA", 20),
    (*b"BE", 16),
    (*b"BG", 22),
    (*b"BH", 22),
    (*b"BI", 27),
    (*b"BR", 29),
    (*b"BY", 28),
    (*b"CH", 21),
    (*b"CR", 22),
    (*b"CY", 28),
    (*b"CZ", 24),
    (*b"DE", 22),
    (*b"DJ", 27),
    (*b"DK", 18),
    (*b"DO", 28),
    (*b"EE", 20),
    (*b"EG", 29),
    (*b"ES", 24),
    (*b"FI", 18),
    (*b"FK", 18),
    (*b"FO", 18),
    (*b"FR", 27),
    (*b"GB", 22),
    (*b"GE", 22),
    (*b"GI", 23),
    (*b"GL", 18),
    (*b"GR", 27),
    (*b"GT", 28),
    (*b"HN", 28),
    (*b"HR", 21),
    (*b"HU", 28),
    (*b"IE", 22),
    (*b"IL", 23),
    (*b"IQ", 23),
    (*b"IS", 26),
    (*b"IT", 27),
    (*b"JO", 30),
    (*b"KW", 30),
    (*b"KZ", 20),
    (*b"LB", 28),
    (*b"LC", 32),
    (*b"LI", 21),
    (*b"LT", 20),
    (*b"LU", 20),
    (*b"LV", 21),
    (*b"LY", 25),
    (*b"MC", 27),
    (*b"MD", 24),
    (*b"ME", 22),
    (*b"MK", 19),
    (*b"MN", 20),
    (*b"MR", 27),
    (*b"MT", 31),
    (*b"MU", 30),
    (*b"NI", 28),
    (*b"NL", 18),
    (*b"NO", 15),
    (*b"OM", 23),
    (*b"PK", 24),
    (*b"PL", 28),
    (*b"PS", 29),
    (*b"PT", 25),
    (*b"QA", 29),
    (*b"RO", 24),
    (*b"RS", 22),
    (*b"RU", 33),
    (*b"SA", 24),
    (*b"SC", 31),
    (*b"SD", 18),
    (*b"SE", 24),
    (*b"SI", 19),
    (*b"SK", 24),
    (*b"SM", 27),
    (*b"SO", 23),
    (*b"ST", 25),
    (*b"SV", 28),
    (*b"TL", 23),
    (*b"TN", 24),
    (*b"TR", 26),
    (*b"UA", 29),
    (*b"VA", 22),
    (*b"VG", 24),
    (*b"XK", 20),
    (*b"YE", 30),
];

/// The end of the number that begins at `start`, if one does.
pub(super) fn find(bytes: &[u8], start: usize) -> Option<usize> {
    let &[a, b, c, d] = bytes.get(start..)?.first_chunk::<4>()?;
    if !c.is_ascii_digit() || !d.is_ascii_digit() || start.checked_sub(1).is_some_and(|at| is_letter(bytes, at)) {
        return None;
    }
    let place = LENGTHS.binary_search_by_key(&[a, b], |(country, _)| *country).ok()?;
    let (_, length) = LENGTHS.get(place)?;
    let (mut at, mut count) = (start, 0);
    let mut head = 0_u64;
    let mut rest = 0_u64;
    while count < *length {
        let byte = *bytes.get(at)?;
        at += 1;
        // Printed in groups of four.
        if byte == b' ' && count > 0 && count % 4 == 0 && bytes.get(at) != Some(&b' ') {
            continue;
        }
        let sum = if count < 4 { &mut head } else { &mut rest };
        *sum = match byte {
            b'0'..=b'9' => *sum * 10 + u64::from(byte - b'0'),
            b'A'..=b'Z' => *sum * 100 + u64::from(byte - b'A') + 10,
            _ => return None,
        };
        if count >= 4 {
            rest %= 97;
        }
        count += 1;
    }
    // ISO 7064, MOD 97-10: the first four characters come last.
    let check = (rest * 1_000_000 + head) % 97;
    (check == 1 && !is_letter(bytes, at)).then_some(at)
}

fn is_letter(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(LENGTHS.is_sorted());
    }
}
