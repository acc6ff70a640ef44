//! Which nodes an output needs, in an order in which each comes after what it reads.

use std::collections::HashMap;

use lipbound_lipschitz::ModelError;

use super::{graph::place, schema::NodeProto};

/// Most nodes of a cycle that an error names.
const MOST_NAMED: usize = 10;

/// The nodes that `output` depends on, in order: that of the file where it is one.
///
/// `makers` has the node that makes each name; `given` tells which names need none.
pub(super) fn order(
    nodes: &[NodeProto],
    makers: &HashMap<&str, usize>,
    given: impl Fn(&str) -> bool,
    output: &str,
) -> Result<Vec<usize>, ModelError> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; nodes.len()];
    let mut order = Vec::new();
    // The path from the output: nodes, and the next of their inputs to look at. No recursion: paths may be long.
    let mut path: Vec<(usize, usize)> = Vec::new();
    if let Some(&last) = makers.get(output) {
        states[last] = State::Open;
        path.push((last, 0));
    }
    while let Some((index, next)) = path.last_mut() {
        let (index, node) = (*index, &nodes[*index]);
        let Some(input) = node.input.get(*next) else {
            states[index] = State::Done;
            order.push(index);
            path.pop();
            continue;
        };
        *next += 1;
        if input.is_empty() {
            continue;
        }
        let Some(&maker) = makers.get(input.as_str()) else {
            if given(input) {
                continue;
            }
            return Err(ModelError::model(format!(
                "{}: reads '{input}', which is neither an input, an initialiser nor the output of a node",
                place(node)
            )));
        };
        match states[maker] {
            State::Done => {}
            State::New => {
                states[maker] = State::Open;
                path.push((maker, 0));
            }
            State::Open => {
                let start = path.iter().position(|&(node, _)| node == maker).expect("open nodes are on the path");
                let cycle = &path[start..];
                let mut names: Vec<_> = cycle.iter().take(MOST_NAMED).map(|&(i, _)| place(&nodes[i])).collect();
                if cycle.len() > MOST_NAMED {
                    names.push(format!("{} more", cycle.len() - MOST_NAMED));
                }
                return Err(ModelError::model(format!("the graph has a cycle: {}", names.join(", "))));
            }
        }
    }
    let sorted = order
        .iter()
        .all(|&i| nodes[i].input.iter().filter_map(|name| makers.get(name.as_str())).all(|&maker| maker < i));
    if sorted {
        order.sort_unstable();
    }
    Ok(order)
}
