//! The page that the benchmark writes: goals on top, a section for each part below.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{anyhow, Context, Result};

use crate::chart::{self, Panel};
use crate::files::{read, write};
use crate::statistics::Estimate;

#[derive(Default)]
pub struct Report {
    body: String,
    charts: Vec<(String, String)>,
    goals: Vec<Goal>,
}

struct Goal {
    what: String,
    bound: Bound,
    measured: Estimate,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    Above(f64),
}

impl Goal {
    /// Where the confidence interval reaches across the bound, the run cannot tell.
    fn verdict(&self) -> &'static str {
        let Estimate { value, low, high } = self.measured;
        let (met, possible) = match self.bound {
            Bound::AtMost(bound) => (value <= bound, low <= bound),
            Bound::Above(bound) => (value > bound, high > bound),
        };
        match (met, possible) {
            (true, _) => "met",
            (false, true) => "met within noise",
            (false, false) => "**missed**",
        }
    }
}

impl Report {
    pub fn section(&mut self, title: &str, text: &str) {
        let _ = write!(self.body, "\n## {title}\n\n{text}\n");
    }

    pub fn subsection(&mut self, title: &str) {
        let _ = write!(self.body, "\n### {title}\n");
    }

    pub fn paragraph(&mut self, text: &str) {
        let _ = write!(self.body, "\n{text}\n");
    }

    /// The first column is text, the others are numbers.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.body += &table(head, rows);
    }

    pub fn chart(&mut self, name: &str, panels: &[Panel]) {
        let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
        let _ = write!(self.body, "\n![{}](benchmarks/{name}.svg)\n", titles.join("; "));
        self.charts.push((format!("{name}.svg"), chart::svg(panels)));
    }

    pub fn goal(&mut self, what: impl Into<String>, bound: Bound, measured: Estimate) {
        self.goals.push(Goal { what: what.into(), bound, measured });
    }

    /// The sections and the goals that they bear on.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.goals.is_empty() {
            text += "\n## Goals\n";
            text += &self.goals_table();
        }
        text + &self.body
    }

    fn goals_table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .goals
            .iter()
            .map(|goal| {
                let bound = match goal.bound {
                    Bound::AtMost(bound) => format!("≤ {bound}"),
                    Bound::Above(bound) => format!("> {bound}"),
                };
                vec![goal.what.clone(), ratio(&goal.measured), bound, goal.verdict().to_owned()]
            })
            .collect();
        table(&["", "measured", "goal", ""], &rows)
    }

    /// Writes `benchmarks.md` and `benchmarks/*.svg` into a directory.
    pub fn write(&self, directory: &Path, introduction: &str) -> Result<()> {
        let charts = directory.join("benchmarks");
        std::fs::create_dir_all(&charts).with_context(|| charts.display().to_string())?;
        for (name, svg) in &self.charts {
            write(&charts.join(name), svg)?;
        }
        write(&directory.join("benchmarks.md"), &format!("{introduction}{}", self.text()))
    }

    /// Writes the goals, met or missed, between the two marks in a file.
    pub fn quote(&self, file: &Path) -> Result<()> {
        let text = read(file)?;
        let quoted = self.quoted(&text);
        let missing = || anyhow!("no {QUOTE:?} and {END_OF_QUOTE:?} in {}", file.display());
        write(file, &quoted.ok_or_else(missing)?)
    }

    fn quoted(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(QUOTE)?;
        let (_, after) = rest.split_once(END_OF_QUOTE)?;
        let table = self.goals_table();
        Some(format!("{before}{QUOTE}\n{table}\n{END_OF_QUOTE}{after}"))
    }
}

const QUOTE: &str = "<!-- figures of make bench -->";
const END_OF_QUOTE: &str = "<!-- end of figures -->";

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = format!(
        "\n| {} |\n|---{}|\n",
        head.join(" | "),
        "|---:".repeat(head.len().saturating_sub(1))
    );
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}

/// `0.512 (0.498 to 0.521)`
pub fn ratio(estimate: &Estimate) -> String {
    let Estimate { value, low, high } = *estimate;
    if [value, low, high] == [1.0; 3] {
        "1".to_owned()
    } else if low == high {
        format!("{value:.4}")
    } else {
        format!("{value:.3} ({low:.3} to {high:.3})")
    }
}

/// A whole number with its thousands apart.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(whole(1234567.4), "1,234,567");
        assert_eq!(whole(999.6), "1,000");
        assert_eq!(whole(-12.0), "-12");
        assert_eq!(whole(-0.1), "0");
        assert_eq!(ratio(&Estimate::exact(1.0)), "1");
        assert_eq!(ratio(&Estimate::exact(1.02)), "1.0200");
    }

    #[test]
    fn figures_are_quoted_between_the_marks() {
        let mut report = Report::default();
        report.goal("x", Bound::AtMost(1.0), Estimate::exact(0.5));
        report.goal("y", Bound::AtMost(1.0), Estimate::exact(1.5));
        let text = format!("before\n{QUOTE}\nold\n{END_OF_QUOTE}\nafter\n");
        let quoted = report.quoted(&text);
        let table = "\n|  | measured | goal |  |\n|---|---:|---:|---:|\n\
                     | x | 0.5000 | ≤ 1 | met |\n| y | 1.5000 | ≤ 1 | **missed** |\n";
        assert_eq!(quoted, Some(format!("before\n{QUOTE}\n{table}\n{END_OF_QUOTE}\nafter\n")));
        assert_eq!(report.quoted("no marks"), None);
    }

    #[test]
    fn verdicts() {
        let verdict = |bound, value, low, high| {
            Goal { what: String::new(), bound, measured: Estimate { value, low, high } }.verdict()
        };
        assert_eq!(verdict(Bound::AtMost(1.0), 1.0, 0.9, 1.1), "met");
        assert_eq!(verdict(Bound::AtMost(1.0), 1.01, 0.9, 1.1), "met within noise");
        assert_eq!(verdict(Bound::AtMost(1.0), 1.2, 1.1, 1.3), "**missed**");
        assert_eq!(verdict(Bound::Above(1.0), 1.2, 1.1, 1.3), "met");
        assert_eq!(verdict(Bound::Above(1.0), 0.8, 0.7, 0.9), "**missed**");
    }
}
