//! The report for people.

use std::fmt;

use super::parity::Parity;
use super::report::{Figures, Measured, Model, Peak, Report, Row, Throughput};

/// Shows a report as tables.
pub struct Tables<'a>(pub &'a Report);

/// Cells of a table; the first row is its heading.
type Cells = Vec<Vec<String>>;

impl fmt::Display for Tables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { polyhead, machine, repeats, models, .. } = self.0;
        writeln!(f, "{}, {} cores ({})", machine.cpu, machine.cores, machine.features.join(" "))?;
        writeln!(f, "polyhead {polyhead}; medians (least to greatest) of {repeats}")?;
        models.iter().try_for_each(|model| write_model(f, model))
    }
}

fn peak_line(peak: &Peak) -> String {
    format!(
        "peak, {}: {} of 1 worker, {} of all",
        peak.arithmetic,
        flops(peak.one_worker.max),
        flops(peak.all_workers.max)
    )
}

fn write_model(f: &mut fmt::Formatter<'_>, model: &Model) -> fmt::Result {
    write!(f, "\n{}", model.name)?;
    if let Some(flops) = model.linear_flops_per_token {
        write!(f, ": {:.1} MFLOP a token in linear layers", flops as f64 / 1e6)?;
    }
    writeln!(f)?;
    for peak in &model.peaks {
        writeln!(f, "{}", peak_line(peak))?;
    }
    let measured: Vec<&Measured> = model.precisions.iter().filter_map(Row::measured).collect();
    if !measured.is_empty() {
        write_figures(f, &measured)?;
    }
    for row in &measured {
        if let Some(Parity { sentences, min, mean }) = row.cosine_to_fp32 {
            write!(f, "{}: cosine to fp32 at least {min:.6}, ", row.precision.as_str())?;
            writeln!(f, "on average {mean:.6}, over {sentences} sentences")?;
        }
    }
    for row in &model.precisions {
        if let Row::Unavailable { precision, unavailable } = row {
            writeln!(f, "{} is not to be had: {unavailable}", precision.as_str())?;
        }
    }
    Ok(())
}

fn write_figures(f: &mut fmt::Formatter<'_>, measured: &[&Measured]) -> fmt::Result {
    let workers = format!("tokens/s, {} workers", measured[0].workers);
    let heading =
        ["", "", "tokens/s, 1 worker", "of peak", &workers, "of peak", "p50 ms", "p99 ms"];
    let mut cells: Cells = vec![heading.map(str::to_owned).into()];
    for row in measured {
        cells.extend(row.shapes.iter().map(|figures| figure_cells(row, figures)));
    }
    write_cells(f, &cells)
}

fn figure_cells(row: &Measured, figures: &Figures) -> Vec<String> {
    let milliseconds = |seconds: f64| format!("{:.2}", seconds * 1e3);
    let share = |of: &Throughput| {
        of.share_of_peak.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0))
    };
    vec![
        row.precision.as_str().to_owned(),
        figures.shape.name.clone(),
        tokens(&figures.one_worker),
        share(&figures.one_worker),
        tokens(&figures.all_workers),
        share(&figures.all_workers),
        milliseconds(figures.latency.p50),
        milliseconds(figures.latency.p99),
    ]
}

fn tokens(of: &Throughput) -> String {
    let rate = of.tokens_per_second;
    format!("{} ({}–{})", grouped(rate.median), grouped(rate.min), grouped(rate.max))
}

fn flops(rate: f64) -> String {
    match rate {
        1e12.. => format!("{:.2} TFLOP/s", rate / 1e12),
        _ => format!("{:.0} GFLOP/s", rate / 1e9),
    }
}

/// A whole number with its thousands set off.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn write_cells(f: &mut fmt::Formatter<'_>, cells: &Cells) -> fmt::Result {
    let columns = cells[0].len();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    for row in cells {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Names to the left, numbers to the right.
            match column {
                0 | 1 => line.push_str(&format!("{cell:<width$}  ")),
                _ => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands_and_rates_have_fitting_units() {
        let texts = [7.4, 999.6, 12_345.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["7", "1,000", "12,345", "1,234,567"]);
        assert_eq!(flops(2.754e12), "2.75 TFLOP/s");
        assert_eq!(flops(111.4e9), "111 GFLOP/s");
    }
}
