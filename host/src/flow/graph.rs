//! The order of a flow's jobs: each behind those that it needs.

use std::collections::BTreeMap;

/// What each job needs, by their places in the flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Graph {
    /// The jobs, each behind those that it needs; in the file's order where that leaves a choice.
    pub(super) order: Vec<usize>,
    /// How many jobs lie one behind the other before each of them, at most.
    pub(super) depth: Vec<usize>,
}

impl Graph {
    /// # Errors
    /// The jobs of a circle, in the order in which they need each other.
    pub(super) fn new(needs: &[Vec<usize>]) -> Result<Self, Vec<usize>> {
        let mut depth = BTreeMap::new();
        let mut order = Vec::new();
        while order.len() < needs.len() {
            let is_next = |job: &usize| {
                !depth.contains_key(job) && needs[*job].iter().all(|need| depth.contains_key(need))
            };
            let Some(job) = (0..needs.len()).find(is_next) else {
                return Err(circle(needs, |job| depth.contains_key(&job)));
            };
            let behind = needs[job].iter().map(|need| depth[need] + 1).max();
            depth.insert(job, behind.unwrap_or(0));
            order.push(job);
        }
        Ok(Self { order, depth: depth.into_values().collect() })
    }
}

/// Follows needs that are not met until a job comes a second time.
fn circle(needs: &[Vec<usize>], is_met: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut path: Vec<usize> = (0..needs.len()).filter(|job| !is_met(*job)).take(1).collect();
    while let Some(next) =
        path.last().and_then(|job| needs[*job].iter().copied().find(|need| !is_met(*need)))
    {
        if let Some(begin) = path.iter().position(|job| *job == next) {
            path.drain(..begin);
            break;
        }
        path.push(next);
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jobs_come_behind_what_they_need() {
        let graph = Graph::new(&[vec![2], vec![], vec![1], vec![]]).unwrap();
        assert_eq!(graph.order, [1, 2, 0, 3]);
        assert_eq!(graph.depth, [2, 0, 1, 0]);
    }

    #[test]
    fn a_circle_is_named() {
        assert_eq!(Graph::new(&[vec![0]]), Err(vec![0]));
        assert_eq!(Graph::new(&[vec![1], vec![2], vec![3], vec![1]]), Err(vec![1, 2, 3]));
    }

    proptest! {
        #[test]
        fn any_graph_is_ordered_or_has_a_circle(
            needs in prop::collection::vec(prop::collection::vec(0_usize..6, 0..4), 6)
        ) {
            match Graph::new(&needs) {
                Ok(graph) => {
                    let at = |job: usize| graph.order.iter().position(|it| *it == job).unwrap();
                    for (job, needs) in needs.iter().enumerate() {
                        prop_assert!(needs.iter().all(|need| at(*need) < at(job)));
                    }
                }
                Err(circle) => {
                    prop_assert!(!circle.is_empty());
                    for (at, job) in circle.iter().enumerate() {
                        prop_assert!(needs[*job].contains(&circle[(at + 1) % circle.len()]));
                    }
                }
            }
        }
    }
}
