//! Whose turn it is to write. SQLite has one writer; tasks that wait in line for it lose less
//! than tasks that poll a busy database, and none of them starves.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use transload_plugin_api::{Cancel, Result, Waiting};

/// A line of waiting tasks; the first one has its turn.
#[derive(Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    moved: Condvar,
}

#[derive(Default)]
struct Line {
    next: u64,
    waiting: VecDeque<u64>,
}

/// A turn. It ends when dropped.
pub(crate) struct Turn {
    queue: Arc<Queue>,
    ticket: u64,
}

impl Queue {
    /// Waits for a turn, in order of asking.
    pub(crate) fn wait(self: &Arc<Self>, cancel: &Cancel) -> Result<Turn> {
        let mut line = self.line.lock();
        let ticket = line.next;
        line.next += 1;
        line.waiting.push_back(ticket);
        // Dropped on the way out, a turn leaves the line wherever it stands.
        let turn = Turn { queue: Arc::clone(self), ticket };
        let _waiting = Waiting::quiet("waiting for other tasks to write");
        while line.waiting.front() != Some(&ticket) && !cancel.is_cancelled() {
            self.moved.wait_for(&mut line, Duration::from_millis(50));
        }
        drop(line); // the turn's end locks it again
        cancel.check()?;
        Ok(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.line.lock().waiting.retain(|ticket| *ticket != self.ticket);
        self.queue.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use transload_plugin_api::ErrorKind;

    use super::*;

    #[test]
    fn turns_come_in_order_and_one_at_a_time() {
        let (queue, cancel) = (Arc::new(Queue::default()), Cancel::new());
        let first = queue.wait(&cancel).unwrap();
        let (sender, order) = channel();
        let mut threads = Vec::new();
        for name in 0..4 {
            let (shared, stop, sender) = (Arc::clone(&queue), cancel.clone(), sender.clone());
            threads.push(std::thread::spawn(move || {
                let turn = shared.wait(&stop).unwrap();
                sender.send(name).unwrap();
                drop(turn);
            }));
            // The next one asks only when this one stands in line.
            while queue.line.lock().waiting.len() < name + 2 {
                std::thread::yield_now();
            }
        }
        assert!(order.try_recv().is_err());
        drop(first);
        assert_eq!(order.iter().take(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_stop_before_the_turn_leaves_the_line_too() {
        let (queue, cancel) = (Arc::new(Queue::default()), Cancel::new());
        cancel.cancel();
        assert_eq!(queue.wait(&cancel).err().unwrap().kind, ErrorKind::Cancelled);
        assert!(queue.line.lock().waiting.is_empty());
    }

    #[test]
    fn a_stop_leaves_the_line() {
        let (queue, cancel) = (Arc::new(Queue::default()), Cancel::new());
        let first = queue.wait(&cancel).unwrap();
        let (shared, stop) = (Arc::clone(&queue), cancel.clone());
        let waiting = std::thread::spawn(move || shared.wait(&stop).map(drop));
        while queue.line.lock().waiting.len() < 2 {
            std::thread::yield_now();
        }
        cancel.cancel();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
        assert_eq!(queue.line.lock().waiting.len(), 1);
        drop(first);
        assert!(queue.line.lock().waiting.is_empty());
    }
}
