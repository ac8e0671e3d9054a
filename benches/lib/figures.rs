//! Figures: the median of several runs, the least and the greatest, as a table and as JSON.

use std::path::Path;

use serde_json::{Value, json};

/// Above this load a tail says more about the machine than about the subject.
pub const BUSY: f64 = 2.0;

/// The measurements of several runs.
#[derive(Debug, Clone)]
pub struct Figure(Vec<f64>);

impl Figure {
    #[must_use]
    pub fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        Self(runs)
    }

    /// The nearest-rank percentile; NaN without measurements.
    #[must_use]
    pub fn at(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or(f64::NAN)
    }

    #[must_use]
    pub fn median(&self) -> f64 {
        self.at(50)
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.at(0), "max": self.at(100), "runs": self.0.len() })
    }

    /// `1.2 (1.1 to 1.4)`
    fn text(&self) -> String {
        let [median, min, max] = [50, 0, 100].map(|it| short(self.at(it)));
        if min == max {
            median
        } else {
            format!("{median} ({min} to {max})")
        }
    }
}

/// Three significant digits.
fn short(number: f64) -> String {
    match number.abs() {
        it if it >= 100.0 => format!("{number:.0}"),
        it if it >= 10.0 => format!("{number:.1}"),
        it if it >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// Prints rows as they are measured, and writes all of them as JSON at the end.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Value>,
    load: f64,
}

impl Table {
    /// The other columns are divided by the first.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        let load = load();
        println!(
            "load average {load:.2}; median (least to greatest); ratio: {} to the others, run by run\n",
            columns[0]
        );
        Self {
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            load,
        }
    }

    /// Cells in the order of the columns; `None` for an empty one. Runs with the same number were made in the same
    /// turn.
    pub fn row(&mut self, name: &str, cells: &[Option<Vec<f64>>]) {
        self.load = self.load.max(load());
        let figures: Vec<_> = cells.iter().map(|it| it.clone().map(Figure::of)).collect();
        let mut object = json!({ "row": name, "load": load() });
        print!("{name:<52}");
        for (column, figure) in self.columns.iter().zip(&figures) {
            if let Some(figure) = figure {
                print!("  {column} {}", figure.text());
                object[column] = figure.json();
            }
        }
        if let Some(Some(ours)) = cells.first() {
            for (column, other) in self.columns.iter().zip(cells).skip(1) {
                let Some(other) = other else { continue };
                let pairs = ours.iter().zip(other).map(|(ours, other)| ours / other);
                let ratio = Figure::of(pairs.collect());
                print!("  ratio to {column} {}", ratio.text());
                object[format!("ratio to {column}")] = ratio.json();
            }
        }
        println!();
        self.rows.push(object);
    }

    /// A tail percentile, without a verdict on a busy machine.
    pub fn tail(&mut self, name: &str, cells: &[Option<Vec<f64>>]) {
        let load = load();
        if load > BUSY {
            println!("{name:<52}  no verdict: load average {load:.2} is above {BUSY}");
            let row = json!({ "row": name, "load": load, "verdict": "none: the machine was busy" });
            self.rows.push(row);
        } else {
            self.row(name, cells);
        }
    }

    /// Writes it to `target/bench/NAME.json`.
    pub fn close(self, name: &str) {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"));
        let path = folder.join(format!("{name}.json"));
        let all = json!({ "load": self.load, "rows": self.rows });
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, format!("{all:#}\n")));
        match written {
            Ok(()) => println!(
                "\ntarget/bench/{name}.json; greatest load average {:.2}",
                self.load
            ),
            Err(error) => eprintln!("{} was not written: {error}", path.display()),
        }
    }
}

/// The load average of the last minute.
#[must_use]
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|it| it.parse().ok());
    first.unwrap_or(f64::NAN)
}
