//! `gateway audit query`: a question to the copy of the journal.
//!
//! In: SQL of the operator's, run with the operator's login. Out: the answer as a table, JSON or CSV. What runtimes wrote
//! reaches no terminal as it is; a file gets every byte.

use std::io::{self, IsTerminal, Write};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::audit::StoreLogin;
use super::serve::runtime;
use super::terminal::visible;
use super::{Output, line};
use crate::audit::clickhouse::Store;

/// So much of an answer is held: of a table, which is laid out as a whole, or of a row for a terminal.
const MAX_HELD: usize = 16 << 20;
/// Wider columns are cut.
const MAX_WIDTH: usize = 80;

/// What to ask.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The question; docs/clickhouse.md has examples
    sql: String,
    /// How the answer is written [default: table, with --json: json]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    login: StoreLogin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people; long values are cut
    Table,
    /// An object on a line for each row
    Json,
    /// With the names of the columns first
    Csv,
}

pub(super) fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let store = arguments.login.open()?.store;
    let format = arguments.format.unwrap_or(if output == Output::Json { Format::Json } else { Format::Table });
    let answer = async {
        match format {
            Format::Table => table(&store, &arguments.sql).await,
            Format::Json => pour(&store, &arguments.sql, "JSONEachRow").await,
            Format::Csv => pour(&store, &arguments.sql, "CSVWithNames").await,
        }
    };
    runtime()?.block_on(answer)
}

async fn pour(store: &Store, sql: &str, format: &str) -> anyhow::Result<()> {
    let mut answer = store.ask(sql, format)?;
    let stdout = io::stdout();
    let seen = stdout.is_terminal();
    let mut rest = Vec::new();
    while let Some(piece) = answer.next().await? {
        if !seen {
            stdout.lock().write_all(&piece)?;
            continue;
        }
        rest.extend_from_slice(&piece);
        if rest.len() > MAX_HELD {
            bail!("a row has more than {} MiB: send the answer to a file", MAX_HELD >> 20);
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let text: Vec<u8> = rest.drain(..=end).collect();
            line(&visible(String::from_utf8_lossy(&text).trim_end()))?;
        }
    }
    if !rest.is_empty() {
        line(&visible(&String::from_utf8_lossy(&rest)))?;
    }
    Ok(stdout.lock().flush()?)
}

async fn table(store: &Store, sql: &str) -> anyhow::Result<()> {
    let mut answer = store.ask(sql, "JSONCompactStringsEachRowWithNames")?;
    let mut text = Vec::new();
    while let Some(piece) = answer.next().await? {
        text.extend_from_slice(&piece);
        if text.len() > MAX_HELD {
            bail!("the answer has more than {} MiB: ask for less, or add --format csv", MAX_HELD >> 20);
        }
    }
    let rows = serde_json::Deserializer::from_slice(&text).into_iter::<Vec<String>>().collect::<Result<Vec<_>, _>>()?;
    laid_out(&rows).iter().try_for_each(|row| line(row))
}

/// Lines of columns that stand below each other; the first row has their names.
fn laid_out(rows: &[Vec<String>]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cut(&visible(cell))).collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &cells {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let written = |row: &Vec<String>| {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = cells.iter().map(written).collect();
    if !lines.is_empty() {
        lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  "));
    }
    lines
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_WIDTH {
        return text.to_owned();
    }
    text.chars().take(MAX_WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_nothing_plays_with_the_terminal() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["who", "text"]), row(["agents", "a\u{1b}[2Jb"]), row(["x", &"y".repeat(200)])];
        let lines = laid_out(&rows);
        assert_eq!(lines[0], "who     text");
        assert_eq!(lines[2], "agents  a\\u{1b}[2Jb");
        assert!(lines[1].starts_with("------  -----"));
        assert!(lines[3].ends_with("y…") && lines[3].chars().count() == 88, "{}", lines[3]);
    }
}
