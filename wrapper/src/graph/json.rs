//! Reads JSON from front to back, for a reader who knows what comes. <https://www.rfc-editor.org/rfc/rfc8259>

/// What is left of a JSON text. Everything gives none where the text is something else.
pub struct Json<'a> {
    rest: &'a [u8],
}

impl<'a> Json<'a> {
    pub fn new(text: &'a [u8]) -> Json<'a> {
        Json { rest: text }
    }

    /// Reads an object; `field` is given each key and reads its value.
    pub fn object(&mut self, mut field: impl FnMut(&mut Json<'a>, &'a [u8]) -> Option<()>) -> Option<()> {
        self.sequence(b'{', b'}', |json| {
            let key = json.raw_string()?;
            json.expect(b':')?;
            field(json, key)
        })
    }

    /// Reads an array; `element` reads each element.
    pub fn array(&mut self, element: impl FnMut(&mut Json<'a>) -> Option<()>) -> Option<()> {
        self.sequence(b'[', b']', element)
    }

    /// Reads a string without escapes.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.raw_string().filter(|text| !text.contains(&b'\\'))
    }

    /// Reads a whole number, not negative.
    pub fn integer(&mut self) -> Option<usize> {
        let mut value: usize = 0;
        let mut digits = 0;
        self.next()?;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            value = value.checked_mul(10)?.checked_add((digit - b'0').into())?;
            digits += 1;
            self.rest = rest;
        }
        (digits > 0).then_some(value)
    }

    /// Passes over a value of any kind.
    pub fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.next()? {
                b'"' => {
                    self.raw_string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.take(1);
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.take(1);
                }
                b',' | b':' if depth > 0 => {
                    self.take(1);
                }
                _ => {
                    let length = self.rest.iter().take_while(|it| !b",:]}\" \n\r\t".contains(it)).count();
                    if length == 0 {
                        return None;
                    }
                    self.take(length);
                }
            }
            if depth <= 0 {
                return (depth == 0).then_some(());
            }
        }
    }

    fn sequence(&mut self, open: u8, close: u8, mut element: impl FnMut(&mut Json<'a>) -> Option<()>) -> Option<()> {
        self.expect(open)?;
        if self.next()? == close {
            return self.expect(close);
        }
        loop {
            element(self)?;
            if self.next()? == close {
                return self.expect(close);
            }
            self.expect(b',')?;
        }
    }

    /// A string as it is written, with its escapes.
    fn raw_string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let mut length = 0;
        loop {
            match self.rest.get(length)? {
                b'"' => break,
                b'\\' => length += 2,
                _ => length += 1,
            }
        }
        let text = self.take(length);
        self.take(1);
        Some(text)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.next()? == byte;
        self.take(1);
        found.then_some(())
    }

    fn next(&mut self) -> Option<u8> {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_passed_over() {
        let mut json = Json::new(br#" {"a": {"b": [1, -2.5e3, "x\"]", null, {}], "c": []}, "n": 42} "#);
        let mut found = None;
        let end = json.object(|json, key| match key {
            b"n" => {
                found = json.integer();
                Some(())
            }
            _ => json.skip(),
        });
        assert_eq!((end, found), (Some(()), Some(42)));
    }

    #[test]
    fn broken_texts_give_none() {
        for text in ["", "{", "[1", "[1,]", "[1 2]", r#"["a]"#, "]", "[,]", "[99999999999999999999999]", r#"["\"#] {
            let mut json = Json::new(text.as_bytes());
            assert_eq!(json.array(|json| json.integer().map(|_| ())), None, "{text}");
        }
        for text in ["", "}", "{", "[[", "\"", ",", "\"\\"] {
            assert_eq!(Json::new(text.as_bytes()).skip(), None, "{text}");
        }
    }
}
