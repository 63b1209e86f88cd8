//! Protobuf's wire format, as far as messages of Kubernetes need it.
//!
//! In: bytes. Out: fields by number, each a number or bytes. It must never read what Go's reader takes for another value:
//! numbers longer than 64 bits, and the types that no message of the API has, are errors.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// What is left of a message.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'b>)>, &'static str> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or("a field without a number")?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| "a length beyond its end")?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or("a length beyond its end")?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return Err("a type that no message here has"),
        };
        Ok(Some((number, value)))
    }

    /// A number in groups of seven bits.
    pub(super) fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends in the middle")?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // Of the tenth byte one bit is left.
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number longer than 64 bits")
    }
}
