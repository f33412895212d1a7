//! Takes secrets out of the process list.

use std::io;

/// Overwrites the memory that /proc/PID/cmdline shows with `words`, as far as they fit. The arguments of the process
/// must have been read before: `std::env::args` sees the new text.
pub fn replace(words: &[&str]) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (start, end) = argument_range(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let len =
        end.checked_sub(start).filter(|len| (1..1 << 24).contains(len)).ok_or(io::ErrorKind::InvalidData)?;
    let mut text = Vec::with_capacity(len);
    for word in words {
        text.extend(word.bytes().filter(|b| *b != 0));
        text.push(0);
    }
    // The last byte stays zero, or the kernel would go on into the environment.
    text.truncate(len - 1);
    text.resize(len, 0);
    // SAFETY: the kernel says that the arguments of this process occupy exactly these bytes of its stack. They are
    // mapped and writable for the whole life of the process, and the caller has read them for the last time.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), start as *mut u8, len) };
    Ok(())
}

/// `arg_start` and `arg_end` of /proc/self/stat, its 48th and 49th fields.
fn argument_range(stat: &str) -> Option<(usize, usize)> {
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(45);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start != 0).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let mut stat = "1 (a) b) c) S".to_string();
        for field in 4..=52 {
            stat.push_str(&format!(" {field}"));
        }
        assert_eq!(argument_range(&stat), Some((48, 49)));
        assert_eq!(argument_range("1 (a) S 4"), None);
    }
}
