//! An input taken apart: what a target does is decided by its bytes, one after the other.

/// What is left of an input.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Reader(input)
    }

    /// The next byte; `None`: the input has ended.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes.
    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The next four bytes.
    pub fn word(&mut self) -> Option<u32> {
        Some(u32::from(self.short()?) << 16 | u32::from(self.short()?))
    }

    /// The next so many bytes, or what there is.
    pub fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A length of one byte, and so many bytes.
    pub fn chunk(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::from(self.byte()?);
        Some(self.take(bytes))
    }

    /// A length of two bytes, and so many bytes.
    pub fn long_chunk(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::from(self.short()?);
        Some(self.take(bytes))
    }

    /// One of these, by the next byte.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        let byte = usize::from(self.byte()?);
        choices.get(byte % choices.len())
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// The text that bytes are, without what is none.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
