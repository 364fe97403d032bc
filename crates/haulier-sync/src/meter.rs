//! How much time of a processor the work of each entry takes (§1.5), and what the system says of this process.
//!
//! Counted while a task is polled; what it hands to other threads, as reading a large file's hash, is not seen.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use haulier_base::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::model::EntryName;

/// What was used, by entry. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters(Arc<Mutex<HashMap<EntryName, Arc<Meter>>>>);

/// What one entry used.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    used_ns: AtomicU64,
    /// When it was last asked for a share, and what had been used by then.
    asked: Mutex<Option<(Timestamp, u64)>>,
}

impl Meters {
    /// The meter of an entry.
    pub(crate) fn of(&self, entry: &EntryName) -> Arc<Meter> {
        self.lock().entry(entry.clone()).or_default().clone()
    }

    /// Begins again at nothing.
    pub(crate) fn reset(&self, entry: &EntryName) {
        self.lock().remove(entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EntryName, Arc<Meter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    /// All that was used.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed))
    }

    /// Percent of one processor since the last call, or since `started` at the first one.
    pub(crate) fn share(&self, started: Timestamp, now: Timestamp) -> f64 {
        let used = self.used_ns.load(Ordering::Relaxed);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = asked.replace((now, used)).unwrap_or((started, 0));
        let span = now.since(since).as_nanos() as f64;
        if span > 0.0 { used.saturating_sub(before) as f64 / span * 100.0 } else { 0.0 }
    }

    /// Counts what a future uses.
    pub(crate) fn measure<F: Future>(self: Arc<Self>, future: F) -> Measured<F> {
        Measured { meter: self, future: Box::pin(future) }
    }
}

/// A future whose use of the processor is counted.
pub(crate) struct Measured<F> {
    meter: Arc<Meter>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = thread_ns();
        let polled = self.future.as_mut().poll(cx);
        self.meter.used_ns.fetch_add(thread_ns().saturating_sub(before), Ordering::Relaxed);
        polled
    }
}

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What the system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessFigures {
    /// Bytes in memory.
    pub(crate) resident_bytes: u64,
    /// Bytes of address space.
    pub(crate) virtual_bytes: u64,
    /// Bytes of memory that this machine has.
    pub(crate) physical_bytes: u64,
}

impl ProcessFigures {
    /// Reads them; what cannot be read is 0.
    pub(crate) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            resident_bytes: kilobytes(&status, "VmRSS:") * 1024,
            virtual_bytes: kilobytes(&status, "VmSize:") * 1024,
            physical_bytes: kilobytes(&machine, "MemTotal:") * 1024,
        }
    }

    /// Percent of the machine's memory, one decimal.
    pub(crate) fn memory_share(&self) -> f64 {
        if self.physical_bytes == 0 {
            return 0.0;
        }
        (self.resident_bytes as f64 / self.physical_bytes as f64 * 1000.0).round() / 10.0
    }
}

fn kilobytes(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A size as a number and one of `B K M G T`, factor 1024 (§1.5).
pub(crate) fn human_size(bytes: u64) -> String {
    let (mut size, mut units) = (bytes as f64, "BKMGT".chars());
    let mut unit = units.next().unwrap_or('B');
    for next in units {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    format!("{}{unit}", size.round())
}

/// A time as minutes, seconds and hundredths: `0:00.19` (§1.5).
pub(crate) fn minutes(time: Duration) -> String {
    let hundredths = time.as_millis() / 10;
    format!("{}:{:02}.{:02}", hundredths / 6000, hundredths / 100 % 60, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_look_as_in_the_contract() {
        assert_eq!(minutes(Duration::from_millis(194)), "0:00.19");
        assert_eq!(minutes(Duration::from_secs(725)), "12:05.00");
        for (bytes, shown) in [(0, "0B"), (1023, "1023B"), (18 << 20, "18M"), (3 << 30, "3G"), (5 << 50, "5120T")] {
            assert_eq!(human_size(bytes), shown);
        }
    }

    #[tokio::test]
    async fn what_a_future_computes_is_counted_and_its_sleep_is_not() {
        let meter = Meters::default().of(&EntryName::new("A").unwrap());
        let sleepy = tokio::time::sleep(Duration::from_millis(50));
        meter.clone().measure(sleepy).await;
        assert!(meter.used() < Duration::from_millis(40), "{:?}", meter.used());
        let busy = async {
            let begun = thread_ns();
            let mut sum = 0_u64;
            while thread_ns() - begun < 20_000_000 {
                sum = sum.wrapping_mul(31).wrapping_add(1);
            }
            sum
        };
        meter.clone().measure(busy).await;
        assert!(meter.used() >= Duration::from_millis(20), "{:?}", meter.used());
        let start = Timestamp::from_micros(0);
        let second = Timestamp::from_micros(1_000_000);
        assert!(meter.share(start, second) >= 2.0);
        assert_eq!(meter.share(start, second.plus(Duration::from_secs(1))), 0.0);
    }

    #[test]
    fn the_process_has_memory() {
        let figures = ProcessFigures::read();
        assert!(figures.resident_bytes > 1 << 20 && figures.virtual_bytes >= figures.resident_bytes);
        assert!(figures.memory_share() <= 100.0);
    }
}
