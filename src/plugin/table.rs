//! Tables of text, and times as people say them. Pure.

use std::fmt::Write as _;

/// A row of cells.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Writes rows with their columns aligned.
pub fn table(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _written = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// How long something lasts, in the unit that says it best.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The same since a moment, both in seconds since 1970. A moment to come, by another clock, is now.
pub fn since(then: i64, now: i64) -> String {
    age(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}

/// A text on one line that is not longer than so many characters.
pub fn short(text: &str, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars_max {
        return line;
    }
    let kept: String = line.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_lines_end_where_their_text_does() {
        let mut text = String::new();
        table(&mut text, &[row(["A", "BB", "C"]), row(["long", "x", ""])]);
        assert_eq!(text, "A     BB  C\nlong  x\n");
    }

    #[test]
    fn a_time_is_said_in_its_unit() {
        assert_eq!(since(0, 119), "119s");
        assert_eq!(since(0, 7_199), "119m");
        assert_eq!(since(0, 172_799), "47h");
        assert_eq!(since(0, 172_800), "2d");
        assert_eq!(since(9, 0), "0s");
    }

    #[test]
    fn a_long_text_is_cut_and_stands_on_one_line() {
        assert_eq!(short("a\n  b", 9), "a b");
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
