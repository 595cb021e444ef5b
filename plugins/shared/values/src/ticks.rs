//! The unit in which times and timestamps are counted, and how many digits of it a type keeps.

/// The unit of a time or timestamp: microseconds for up to six fractional digits of a second,
/// nanoseconds for seven to nine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    pub(crate) precision: u8,
    pub(crate) padded: bool,
}

impl Ticks {
    /// The unit of a type with `precision` fractional digits, 0 to 9.
    pub const fn new(precision: u8) -> Self {
        Self { precision, padded: false }
    }

    /// The same unit, whose fractions are written with six digits, or with nine where six would
    /// lose some, instead of without zeros at their end.
    #[must_use]
    pub const fn padded(self) -> Self {
        Self { padded: true, ..self }
    }

    /// The number of fractional digits that one tick stands for: 6 or 9.
    pub const fn digits(self) -> usize {
        if self.precision <= 6 { 6 } else { 9 }
    }

    /// Ticks of a second.
    pub const fn per_second(self) -> i64 {
        if self.precision <= 6 { 1_000_000 } else { 1_000_000_000 }
    }

    /// Ticks of a day.
    pub const fn per_day(self) -> i64 {
        crate::calendar::DAY_SECONDS * self.per_second()
    }

    /// Ticks of the last fractional digit that the type keeps: its values are multiples of it.
    pub const fn step(self) -> i64 {
        10_i64.pow((self.digits() as u32).saturating_sub(self.precision as u32))
    }
}
