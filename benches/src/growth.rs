//! What it costs as something grows: curves of at least five points each, whose slope is the figure.

mod amounts;
mod memory;
mod numbers;

use crate::error::BenchError;
use crate::field::Field;
use crate::results::{Curve, Point, Series};

/// How far the curves go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as the issue of each says.
    Whole,
    /// Not so far where much has to be made first: a tenth of the plugins, modules, routes and connections.
    Short,
}

impl Reach {
    /// The sizes, of which the short form has all but the last tenfold.
    fn sizes(self, whole: &[usize]) -> Vec<usize> {
        let most = whole.last().copied().unwrap_or_default();
        let fits = |size: &&usize| self == Reach::Whole || **size * 10 <= most;
        whole.iter().filter(fits).copied().collect()
    }
}

/// Measures some curves that go together.
type Measure = fn(&Field, Reach) -> Result<Vec<Curve>, BenchError>;

/// All of them, by the name they are asked for with.
pub const ALL: [(&str, Measure); 7] = [
    ("filters", amounts::filters),
    ("headers", amounts::headers),
    ("body", amounts::body),
    ("routes", numbers::routes),
    ("plugins", memory::plugins),
    ("idle", memory::idle),
    ("workers", numbers::workers),
];

/// How often memory is read where what it grows by is judged.
const READINGS: usize = 3;

/// A line of a figure for each round at each size.
fn line(name: &str, points: impl IntoIterator<Item = (usize, Vec<f64>)>) -> Series {
    let points = points.into_iter().map(|(x, found)| Point { x: x as f64, found }).collect();
    Series { name: name.to_owned(), points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_leaves_out_the_last_tenfold() {
        let sizes = [1, 10, 100, 1000];

        assert_eq!(Reach::Whole.sizes(&sizes), sizes);
        assert_eq!(Reach::Short.sizes(&sizes), [1, 10, 100]);
    }
}
