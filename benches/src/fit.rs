//! The straight line that fits points best.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Where it begins.
    pub start: f64,
    /// How steep it is.
    pub slope: f64,
}

impl Line {
    /// By least squares; flat where all points stand above each other.
    pub fn through(points: &[(f64, f64)]) -> Line {
        let count = points.len().max(1) as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
        let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        let slope = if below == 0.0 { 0.0 } else { above / below };
        Line { start: y - slope * x, slope }
    }

    /// The line's height there.
    pub fn at(&self, x: f64) -> f64 {
        self.start + self.slope * x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_between_points() {
        let line = Line::through(&[(0.0, 1.0), (1.0, 4.0), (2.0, 5.0)]);

        assert!((line.slope - 2.0).abs() < 1e-9 && (line.at(1.0) - 10.0 / 3.0).abs() < 1e-9, "{line:?}");
        assert_eq!(Line::through(&[]), Line::default());
        assert_eq!(Line::through(&[(1.0, 3.0), (1.0, 5.0)]), Line { start: 4.0, slope: 0.0 });
    }
}
