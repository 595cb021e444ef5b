//! Which job of a flow runs next. A state machine: `command::flow` does what it says and reports what came
//! of it. A failed job keeps those that need it from running, and nothing else.

use super::{
    file::Flow,
    instance::{Instance, JobState},
};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run this job; it waits for its conditions first.
    Run(usize),
    /// Wait until one of the jobs that run has ended.
    Wait,
    /// All that can run has run.
    End,
}

/// The jobs of an instance while it runs.
pub(crate) struct Schedule<'a> {
    flow: &'a Flow,
    states: Vec<JobState>,
    running: usize,
}

impl<'a> Schedule<'a> {
    /// Continues an instance: what is done stays done, all else may run.
    pub(crate) fn new(flow: &'a Flow, instance: &Instance) -> Self {
        let state = |name: &String| match instance.jobs.get(name).map(|job| job.state) {
            Some(JobState::Done) => JobState::Done,
            _ => JobState::Waiting,
        };
        let states = flow.jobs.iter().map(|job| state(&job.name)).collect();
        Self { flow, states, running: 0 }
    }

    /// The state of a job.
    pub(crate) fn state(&self, job: usize) -> JobState {
        self.states[job]
    }

    /// What follows. `is_stopped`: nothing new begins.
    pub(crate) fn next(&mut self, is_stopped: bool) -> Next {
        for job in self.flow.order() {
            if self.states[job] != JobState::Waiting || is_stopped {
                continue;
            }
            let needs = &self.flow.jobs[job].needs;
            let has = |state| needs.iter().any(|need| self.states[*need] == state);
            if has(JobState::Failed) || has(JobState::Blocked) {
                self.states[job] = JobState::Blocked;
            } else if has(JobState::Skipped) {
                self.states[job] = JobState::Skipped;
            } else if needs.iter().all(|need| self.states[*need] == JobState::Done)
                && self.running < self.flow.parallel
            {
                self.states[job] = JobState::Running;
                self.running += 1;
                return Next::Run(job);
            }
        }
        if self.running > 0 { Next::Wait } else { Next::End }
    }

    /// A job has ended.
    pub(crate) fn ended(&mut self, job: usize, state: JobState) {
        debug_assert_eq!(self.states[job], JobState::Running);
        self.states[job] = state;
        self.running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::file::tests::flow_of;

    /// Runs a flow whose jobs end like this; returns the order of the jobs and how each ended.
    fn run(needs: &[&[usize]], parallel: usize, ends: &[JobState]) -> (Vec<usize>, Vec<JobState>) {
        let flow = flow_of(needs, parallel);
        let mut schedule = Schedule::new(&flow, &Instance::default());
        let (mut order, mut running) = (Vec::new(), Vec::new());
        loop {
            match schedule.next(false) {
                Next::Run(job) => {
                    order.push(job);
                    running.push(job);
                    assert!(running.len() <= parallel);
                }
                Next::Wait => {
                    let job: usize = running.remove(0);
                    schedule.ended(job, ends[job]);
                }
                Next::End => break,
            }
        }
        let states = (0..needs.len()).map(|job| schedule.state(job)).collect();
        (order, states)
    }

    #[test]
    fn a_failed_job_blocks_what_needs_it_and_nothing_else() {
        use JobState::{Blocked, Done, Failed};
        let needs: &[&[usize]] = &[&[], &[0], &[1], &[], &[3]];
        let (order, states) = run(needs, 2, &[Done, Failed, Done, Done, Done]);
        assert_eq!(order, [0, 3, 1, 4]);
        assert_eq!(states, [Done, Failed, Blocked, Done, Done]);
    }

    #[test]
    fn a_job_that_is_left_out_leaves_out_what_needs_it() {
        use JobState::{Done, Skipped};
        let (order, states) = run(&[&[], &[0], &[]], 1, &[Skipped, Done, Done]);
        assert_eq!(order, [0, 2]);
        assert_eq!(states, [Skipped, Skipped, Done]);
    }
}
