//! A flow as a picture: a tree of text, and boxes with arrows as SVG. A job with several needs is in the tree
//! below the one that is furthest from the beginning, with the others beside its name.

use std::fmt::Write as _;

use super::{
    file::{Flow, FlowJob},
    instance::{Instance, JobState},
};

/// One line of the tree: what is drawn, the job's name, what is beside it, and how it stands.
pub(crate) struct TreeLine {
    pub(crate) lead: String,
    pub(crate) name: String,
    pub(crate) beside: String,
    pub(crate) state: Option<JobState>,
}

/// The flow as lines of a tree.
pub(crate) fn tree(flow: &Flow, instance: Option<&Instance>) -> Vec<TreeLine> {
    let mut lines = Vec::new();
    let roots: Vec<_> = (0..flow.jobs.len()).filter(|job| parent(flow, *job).is_none()).collect();
    for root in roots {
        branch(flow, instance, root, ("", ""), &mut lines);
    }
    lines
}

/// The job below which a job is drawn.
fn parent(flow: &Flow, job: usize) -> Option<usize> {
    // The first of several that are equally far.
    flow.jobs[job].needs.iter().copied().rev().max_by_key(|need| flow.depth(*need))
}

fn branch(
    flow: &Flow,
    instance: Option<&Instance>,
    job: usize,
    (own, below): (&str, &str),
    lines: &mut Vec<TreeLine>,
) {
    let FlowJob { name, needs, needs_previous, ready, .. } = &flow.jobs[job];
    let parent = parent(flow, job);
    let others = needs.iter().filter(|need| Some(**need) != parent);
    let others: Vec<_> = others.map(|need| flow.jobs[*need].name.as_str()).collect();
    let mut beside = Vec::new();
    if !others.is_empty() {
        beside.push(format!("also needs {}", others.join(", ")));
    }
    if *needs_previous {
        beside.push("needs its own run before".to_owned());
    }
    beside.extend(ready.iter().map(|condition| format!("when {}", condition.test)));
    let state = instance.and_then(|it| it.jobs.get(name)).map(|record| record.state);
    lines.push(TreeLine {
        lead: own.to_owned(),
        name: name.clone(),
        beside: beside.join("; "),
        state,
    });
    let children: Vec<_> =
        (0..flow.jobs.len()).filter(|child| self::parent(flow, *child) == Some(job)).collect();
    for (at, child) in children.iter().enumerate() {
        let (own, next) = match at + 1 == children.len() {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        let lead = (format!("{below}{own}"), format!("{below}{next}"));
        branch(flow, instance, *child, (&lead.0, &lead.1), lines);
    }
}

const WIDTH: usize = 180;
const HEIGHT: usize = 40;
const ACROSS: usize = 70;
const DOWN: usize = 24;
const MARGIN: usize = 20;

/// The flow as an SVG document: jobs from left to right, each behind those that it needs.
pub(crate) fn svg(flow: &Flow, instance: Option<&Instance>) -> String {
    let columns = flow.order().map(|job| flow.depth(job) + 1).max().unwrap_or(1);
    let mut rows = vec![0; columns];
    let mut places = vec![(0, 0); flow.jobs.len()];
    for job in flow.order() {
        let column = flow.depth(job);
        places[job] = (MARGIN + column * (WIDTH + ACROSS), MARGIN + rows[column] * (HEIGHT + DOWN));
        rows[column] += 1;
    }
    let width = 2 * MARGIN + columns * WIDTH + (columns - 1) * ACROSS;
    let most = rows.into_iter().max().unwrap_or(1);
    let height = 2 * MARGIN + most * HEIGHT + most.saturating_sub(1) * DOWN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"14\">\n<title>{}</title>\n\
         <defs><marker id=\"end\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#555\"/></marker></defs>\n",
        escaped(&flow.name)
    );
    for (job, (x, y)) in places.iter().enumerate() {
        for need in &flow.jobs[job].needs {
            let (from_x, from_y) = (places[*need].0 + WIDTH, places[*need].1 + HEIGHT / 2);
            let (to_y, middle) = (y + HEIGHT / 2, x.saturating_sub(ACROSS / 2));
            let _ = writeln!(
                text,
                "<path d=\"M{from_x} {from_y}C{} {from_y} {middle} {to_y} {x} {to_y}\" fill=\"none\" \
                 stroke=\"#555\" marker-end=\"url(#end)\"/>",
                from_x + ACROSS / 2
            );
        }
    }
    for (job, (x, y)) in flow.jobs.iter().zip(&places) {
        let state = instance.and_then(|it| it.jobs.get(&job.name)).map(|record| record.state);
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{}\" \
             stroke=\"#555\"><title>{}</title></rect><text x=\"{}\" y=\"{}\" \
             text-anchor=\"middle\">{}</text>",
            colour(state),
            escaped(&format!("{}{}", job.file.display(), words(state))),
            x + WIDTH / 2,
            y + HEIGHT / 2 + 5,
            escaped(&shortened(&job.name))
        );
    }
    text + "</svg>\n"
}

fn words(state: Option<JobState>) -> String {
    state.map(|state| format!(": {}", state.word())).unwrap_or_default()
}

fn colour(state: Option<JobState>) -> &'static str {
    match state {
        Some(JobState::Done) => "#cfe8cf",
        Some(JobState::Failed) => "#f3c6c6",
        Some(JobState::Blocked | JobState::Skipped) => "#e4e4e4",
        Some(JobState::Running) => "#cfdff3",
        Some(JobState::Waiting) | None => "#ffffff",
    }
}

/// A name that fits into its box.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(22) {
        Some(_) => format!("{}...", name.chars().take(19).collect::<String>()),
        None => name.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::file::tests::flow_of;

    #[test]
    fn a_tree_shows_every_job_once() {
        let flow = flow_of(&[&[], &[0], &[0, 1], &[], &[3, 1]], 1);
        let lines: Vec<_> = tree(&flow, None)
            .iter()
            .map(|line| format!("{}{} {}", line.lead, line.name, line.beside).trim_end().to_owned())
            .collect();
        assert_eq!(
            lines,
            ["j0", "└─ j1", "   ├─ j2 also needs j0", "   └─ j4 also needs j3", "j3"]
        );
    }

    #[test]
    fn a_picture_has_a_box_and_arrows_for_each_job_and_need() {
        let mut flow = flow_of(&[&[], &[0], &[0, 1]], 1);
        flow.jobs[2].name = "a<b&\"c\"".to_owned();
        let picture = svg(&flow, None);
        assert_eq!(picture.matches("<rect").count(), 3);
        assert_eq!(picture.matches("marker-end").count(), 3);
        assert!(picture.contains(">a&lt;b&amp;&quot;c&quot;<"), "{picture}");
    }
}
