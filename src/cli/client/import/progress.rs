//! A bar for work that takes long; on a terminal only.

use std::io::Write;

use crate::clock::Clock;

/// What is done sooner, in milliseconds, is done before anybody has looked for a bar.
const QUICK: i64 = 1000;

/// Time between two pictures, in milliseconds.
const INTERVAL: i64 = 100;

/// Characters of the bar.
const WIDTH: usize = 40;

/// The bar. Dropped, it goes away.
pub struct Progress<W: Write> {
    to: W,
    terminal: bool,
    clock: Clock,
    total: usize,
    done: usize,
    /// When the next picture is due.
    next: i64,
    shown: bool,
}

impl<W: Write> Progress<W> {
    /// A bar of `total` steps.
    pub fn new(to: W, terminal: bool, clock: Clock, total: usize) -> Self {
        let next = clock.now().0 + QUICK;
        Self {
            to,
            terminal,
            clock,
            total,
            done: 0,
            next,
            shown: false,
        }
    }

    /// So many more steps are done.
    pub fn advance(&mut self, steps: usize) {
        self.done = self.total.min(self.done + steps);
        if !self.terminal {
            return;
        }
        let now = self.clock.now().0;
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        self.shown = true;
        let percent = 100 * self.done / self.total.max(1);
        let full = WIDTH * percent / 100;
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH - full));
        self.draw(&format!("\rimporting [{bar}] {percent:3} %"));
    }

    /// A terminal that has gone away is no reason to fail.
    fn draw(&mut self, text: &str) {
        let _ = self.to.write_all(text.as_bytes());
        let _ = self.to.flush();
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        if self.shown {
            self.draw("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    fn drawn(terminal: bool, step: i64) -> String {
        let clock = Clock::mock(UnixMillis(0));
        let mut output = Vec::new();
        let mut progress = Progress::new(&mut output, terminal, clock.clone(), 4);
        for _ in 0..4 {
            clock.advance(step);
            progress.advance(1);
        }
        drop(progress);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_bar_shows_when_it_takes_long_and_goes_away() {
        let text = drawn(true, 500);
        let pictures: Vec<&str> = text.split('\r').skip(1).collect();
        assert_eq!(pictures.len(), 4, "{text:?}");
        assert!(pictures[0].contains("[####################--------------------]  50 %"));
        assert_eq!(pictures[3], "\x1b[K");
    }

    #[test]
    fn quick_work_and_pipes_have_no_bar() {
        assert_eq!((drawn(true, 10), drawn(false, 5000)), (String::new(), String::new()));
    }
}
