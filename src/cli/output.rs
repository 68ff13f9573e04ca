//! What a command prints: for people or for programs. Writing returns errors, so that a closed pipe is not a panic.

use std::io::{self, Write};

use serde::Serialize;

use super::failure::Failure;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Sentences and tables.
    Human,
    /// One JSON value a line.
    Json,
}

/// Prints a line to stdout.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints a text that ends its own lines.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a JSON value as one line to stdout.
pub(super) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|why| Failure::Setup(why.to_string()))?)
}

/// Rows in aligned columns, two spaces apart; the last column is as long as it is.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".into(), "long cell".into(), "x".into()], vec!["bbbb".into(), "c".into(), String::new()]];
        assert_eq!(table(&["H", "I", "J"], &rows), "H     I          J\na     long cell  x\nbbbb  c\n");
    }
}
