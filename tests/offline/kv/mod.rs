//! Keys, values and rows: worked examples, properties, fixtures, hostile bytes.

mod examples;
mod fixtures;
mod generate;
mod hostile;
mod layouts;
mod properties;
mod random_rows;
mod texts;
mod vectors;

/// Bytes of hex digits; blanks are ignored.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("hex") as u8).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of digits in {text}");
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// Hex digits of bytes.
pub fn unhex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
