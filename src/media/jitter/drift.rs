//! How much faster or slower the sender's clock runs than ours, from how the least transit times
//! move.

/// A line through the points of the last minutes, the older the lighter.
#[derive(Debug, Clone, Default)]
pub struct Drift {
    weight: f64,
    time: f64,
    value: f64,
    time_square: f64,
    product: f64,
    last: Option<(f64, f64)>,
    points: u32,
    ppm: Option<f64>,
}

impl Drift {
    /// A least transit time, both in seconds, on any steady clock.
    pub fn add(&mut self, at: f64, transit: f64) {
        // A jump is the network's, or a new beginning.
        if let Some((_, before)) = self.last
            && (transit - before).abs() > JUMP
        {
            self.restart();
        }
        // Times and values are told from the newest point, lest they grow.
        if let Some((time, value)) = self.last {
            self.move_origin(at - time, transit - value);
        }
        self.last = Some((at, transit));
        for sum in [
            &mut self.weight,
            &mut self.time,
            &mut self.value,
            &mut self.time_square,
            &mut self.product,
        ] {
            *sum *= MEMORY;
        }
        self.weight += 1.0;
        self.points = self.points.saturating_add(1);
        let spread = self.weight * self.time_square - self.time * self.time;
        if self.points >= ENOUGH && spread > 0.0 {
            let slope = (self.weight * self.product - self.time * self.value) / spread;
            // A sender that is fast is ever less late.
            self.ppm = Some((-slope * 1e6).clamp(-MOST_PPM, MOST_PPM));
        }
    }

    /// The points so far say nothing of those to come; the estimate stands until there are enough.
    pub fn restart(&mut self) {
        *self = Self { ppm: self.ppm, ..Self::default() };
    }

    /// Parts per million, positive for a sender that is fast; `None` for too short a time.
    pub fn ppm(&self) -> Option<f64> {
        self.ppm
    }

    fn move_origin(&mut self, time: f64, value: f64) {
        self.product += -value * self.time - time * self.value + time * value * self.weight;
        self.time_square += time * (time * self.weight - 2.0 * self.time);
        self.time -= time * self.weight;
        self.value -= value * self.weight;
    }
}

/// Per point: those of the last 100 count most.
const MEMORY: f64 = 0.99;
/// Points before there is an estimate.
const ENOUGH: u32 = 20;
/// Seconds between neighbours.
const JUMP: f64 = 0.03;
/// What no clock is off by.
const MOST_PPM: f64 = 5000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_of_the_least_transit_times_is_found_under_noise() {
        for expected in [-200.0, 0.0, 50.0, 200.0] {
            let mut noise = fastrand::Rng::with_seed(1);
            let mut drift = Drift::default();
            for second in 0..3600 {
                let at = f64::from(second);
                drift.add(at, 7.0 - at * expected * 1e-6 + noise.f64() * 0.001);
            }
            let ppm = drift.ppm().unwrap();
            assert!((ppm - expected).abs() < 10.0, "{expected}: {ppm}");
        }
    }

    #[test]
    fn a_few_points_say_nothing_and_a_jump_begins_anew() {
        let mut drift = Drift::default();
        for second in 0..30 {
            assert_eq!(drift.ppm().is_some(), second > 19);
            drift.add(f64::from(second), f64::from(second) * 1e-4);
        }
        assert!((drift.ppm().unwrap() + 100.0).abs() < 0.1);
        for second in 30..100 {
            drift.add(f64::from(second), 0.5 + f64::from(second) * 1e-4);
        }
        assert!((drift.ppm().unwrap() + 100.0).abs() < 0.1);
    }
}
