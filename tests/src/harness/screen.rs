//! A screen of text, as much of a terminal as the view writes to: letters, places, and the second screen.

/// What stands on the screen.
#[derive(Default)]
pub(super) struct Screen {
    cells: Vec<Vec<char>>,
    at: (usize, usize),
    /// Bytes of a sequence or of a letter that is not whole yet.
    rest: Vec<u8>,
    pub(super) is_on_second: bool,
    pub(super) was_on_second: bool,
    pub(super) shows_cursor: bool,
}

impl Screen {
    /// An empty screen of that size.
    pub(super) fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.cells = vec![vec![' '; usize::from(columns)]; usize::from(rows)];
    }

    /// Its rows as text.
    pub(super) fn rows(&self) -> Vec<String> {
        self.cells.iter().map(|row| row.iter().collect()).collect()
    }

    /// Takes in what the program wrote.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(used) = self.take() {
            self.rest.drain(..used);
        }
    }

    /// Takes one letter or sequence; its length in bytes, none while it is not whole.
    fn take(&mut self) -> Option<usize> {
        match *self.rest.first()? {
            0x1b => self.take_sequence(),
            b'\n' => {
                self.at.0 += 1;
                Some(1)
            }
            b'\r' => {
                self.at.1 = 0;
                Some(1)
            }
            0..0x20 => Some(1),
            first => {
                let length = match first {
                    0xF0.. => 4,
                    0xE0.. => 3,
                    0xC0.. => 2,
                    _ => 1,
                };
                let letter = std::str::from_utf8(self.rest.get(..length)?)
                    .ok()?
                    .chars()
                    .next()?;
                self.put(letter);
                Some(length)
            }
        }
    }

    /// A control sequence, `ESC [ parameters letter`; of others, two bytes.
    fn take_sequence(&mut self) -> Option<usize> {
        if *self.rest.get(1)? != b'[' {
            return Some(2);
        }
        let end = 2 + self.rest[2..]
            .iter()
            .position(|byte| (0x40..0x7F).contains(byte))?;
        let parameters = String::from_utf8_lossy(&self.rest[2..end]).into_owned();
        let number = |i: usize| {
            parameters
                .split(';')
                .nth(i)
                .and_then(|text| text.parse().ok())
                .unwrap_or(1_usize)
        };
        match (self.rest[end], parameters.as_str()) {
            (b'H', _) => self.at = (number(0) - 1, number(1) - 1),
            (b'J', _) => self.cells.iter_mut().for_each(|row| row.fill(' ')),
            (b'h', "?1049") => (self.is_on_second, self.was_on_second) = (true, true),
            (b'l', "?1049") => {
                self.is_on_second = false;
                self.cells.iter_mut().for_each(|row| row.fill(' '));
                self.at = (0, 0);
            }
            (b'h', "?25") => self.shows_cursor = true,
            (b'l', "?25") => self.shows_cursor = false,
            _ => {}
        }
        Some(end + 1)
    }

    fn put(&mut self, letter: char) {
        // As a terminal does, it scrolls when its last row is written beyond.
        while self.at.0 >= self.cells.len() && !self.cells.is_empty() {
            let mut first = self.cells.remove(0);
            first.fill(' ');
            self.cells.push(first);
            self.at.0 -= 1;
        }
        if let Some(cell) = self
            .cells
            .get_mut(self.at.0)
            .and_then(|row| row.get_mut(self.at.1))
        {
            *cell = letter;
        }
        self.at.1 += 1;
    }
}
