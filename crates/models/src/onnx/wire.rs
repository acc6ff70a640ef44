//! What decoding a message would cost, found out before it is decoded.
//!
//! Decoding multiplies: an empty message is two bytes in the file and hundreds in memory, a packed number one byte and
//! eight. So each message is first walked without allocating anything: one pass over its bytes, as deep as the table
//! below and no deeper. What is refused here: lengths that leave the message, groups, fields of another wire type than
//! theirs, fields twice where the second would replace the first, names of absurd length, and more items than a model has.

use std::mem::size_of;

use bytes::Bytes;
use prost::Message;

use super::{budget::Budget, schema::*};

/// Longest name or other text.
const LONGEST_TEXT: usize = 4096;
/// Most nodes of a graph. Building a network compares each name with all others.
const MOST_NODES: usize = 1 << 15;
/// Most of anything else that a list holds one by one.
const MOST_ITEMS: usize = 1 << 16;

/// What decoding does with a field.
enum Field {
    /// A number in its place.
    Number,
    /// Packed or repeated numbers: varints, or of so many bytes; so many bytes each in memory.
    Numbers(Packing, usize),
    /// Text, copied.
    Text,
    /// Texts, copied.
    Texts,
    /// A slice of the file.
    Slice,
    /// At most so many slices of the file.
    Slices(usize),
    /// A message inside this one. Several are merged.
    Inner(&'static Layout),
    /// A list of messages.
    List(&'static Layout),
}

enum Packing {
    Varint,
    Fixed32,
}

/// How a message is laid out.
pub(super) struct Layout {
    name: &'static str,
    size: usize,
    fields: &'static [(u32, Field)],
}

/// A message whose cost is known.
pub(super) trait Costed: Message + Default {
    const LAYOUT: &'static Layout;
}

macro_rules! layouts {
    ($($table:ident $message:ident { $($tag:literal => $field:expr),* $(,)? })*) => {$(
        static $table: Layout =
            Layout { name: stringify!($message), size: size_of::<$message>(), fields: &[$(($tag, $field)),*] };

        impl Costed for $message {
            const LAYOUT: &'static Layout = &$table;
        }
    )*};
}

use Field::{Inner, List, Number, Numbers, Slice, Slices, Text, Texts};

layouts! {
    MODEL ModelProto {
        1 => Number, 2 => Text, 3 => Text, 7 => Inner(&GRAPH), 8 => List(&OPSET), 25 => Slices(MOST_ITEMS),
    }
    OPSET OperatorSetIdProto { 1 => Text, 2 => Number }
    FUNCTION FunctionProto { 1 => Text, 10 => Text }
    GRAPH GraphProto {
        1 => Slices(MOST_NODES), 2 => Text, 5 => Slices(MOST_ITEMS), 11 => List(&VALUE), 12 => List(&VALUE),
        15 => Slices(MOST_ITEMS),
    }
    NODE NodeProto {
        1 => Texts, 2 => Texts, 3 => Text, 4 => Text, 5 => Slices(MOST_ITEMS), 7 => Text, 8 => Text,
    }
    ATTRIBUTE AttributeProto {
        1 => Text, 2 => Number, 3 => Number, 4 => Slice, 5 => Slice, 6 => Slice, 7 => Numbers(Packing::Fixed32, 4),
        8 => Numbers(Packing::Varint, 8), 9 => Slices(MOST_ITEMS), 10 => Slices(MOST_ITEMS), 11 => Slices(MOST_ITEMS),
        14 => Slice, 15 => Slices(MOST_ITEMS), 20 => Number, 21 => Text, 22 => Slice, 23 => Slices(MOST_ITEMS),
    }
    TENSOR TensorProto {
        1 => Numbers(Packing::Varint, 8), 2 => Number, 3 => Slice, 4 => Slices(MOST_ITEMS), 5 => Slices(MOST_ITEMS),
        7 => Slices(MOST_ITEMS), 8 => Text, 9 => Slice, 10 => Slices(MOST_ITEMS), 11 => Slices(MOST_ITEMS),
        13 => List(&ENTRY), 14 => Number,
    }
    ENTRY StringStringEntryProto { 1 => Text, 2 => Text }
    VALUE ValueInfoProto { 1 => Text, 2 => Inner(&TYPE) }
    TYPE TypeProto { 1 => Inner(&TENSOR_TYPE) }
    TENSOR_TYPE TensorTypeProto { 1 => Number, 2 => Inner(&SHAPE) }
    SHAPE TensorShapeProto { 1 => List(&DIMENSION) }
    DIMENSION DimensionProto { 1 => Number, 2 => Text }
}

/// Decodes a message whose cost fits the budget, and hands back the cost, which is taken from it.
pub(super) fn decode<M: Costed>(bytes: &Bytes, budget: &mut Budget) -> Result<(M, usize), String> {
    let cost = cost::<M>(bytes)?;
    budget.take(cost).map_err(|_| {
        format!("decoding a {} of {} bytes needs more memory than a file of this size may", M::LAYOUT.name, bytes.len())
    })?;
    let message = M::decode(bytes.clone()).map_err(|error| format!("{}: {error}", M::LAYOUT.name))?;
    Ok((message, cost))
}

/// At most how many bytes the decoded message allocates, vectors in growth included.
fn cost<M: Costed>(bytes: &[u8]) -> Result<usize, String> {
    let mut count = 0;
    walk(bytes, M::LAYOUT, &mut count)?;
    Ok(count + M::LAYOUT.size)
}

/// The cost of an item of a vector: a vector grows to at most twice its length (four at least) while the old half lives.
fn in_vector(size: usize) -> usize {
    4 * size
}

fn walk(mut rest: &[u8], layout: &Layout, cost: &mut usize) -> Result<(), String> {
    let name = layout.name;
    let mut counts = [0usize; 32];
    while !rest.is_empty() {
        let key = varint(&mut rest).ok_or_else(|| format!("a field of {name} is cut short"))?;
        let (tag, wire) = (key >> 3, key & 7);
        if key > u64::from(u32::MAX) || tag == 0 {
            return Err(format!("{name} has a field of number {tag}"));
        }
        let cut = || format!("field {tag} of {name} is longer than what is there (truncated?)");
        let payload = match wire {
            0 => varint(&mut rest).map(|_| &rest[..0]),
            1 => skip(&mut rest, 8),
            2 => varint(&mut rest).and_then(|n| skip(&mut rest, usize::try_from(n).ok()?)),
            5 => skip(&mut rest, 4),
            other => return Err(format!("field {tag} of {name} has wire type {other}, which ONNX files do not use")),
        }
        .ok_or_else(cut)?;
        let Some((_, field)) = layout.fields.iter().find(|(known, _)| u64::from(*known) == tag) else { continue };
        // Every known number is below 32.
        let count = &mut counts[tag as usize];
        *count += 1;
        let expects_length = !matches!(field, Number | Numbers(..));
        if expects_length != (wire == 2) && !matches!(field, Numbers(..)) {
            return Err(format!("field {tag} of {name} has wire type {wire}, which is not that of its kind"));
        }
        let most = match field {
            Slice => 1,
            Slices(most) => *most,
            Texts | List(_) => MOST_ITEMS,
            _ => usize::MAX,
        };
        if *count > most {
            return Err(match most {
                1 => format!("field {tag} of {name} is there more than once"),
                _ => format!("{name} has more than {most} items of field {tag}, which no model has"),
            });
        }
        if matches!(field, Text | Texts) && payload.len() > LONGEST_TEXT {
            return Err(format!(
                "field {tag} of {name} is a text of {} bytes; names and texts have at most {LONGEST_TEXT}",
                payload.len()
            ));
        }
        *cost += match field {
            Number => 0,
            Numbers(packing, size) => {
                let numbers = match (wire, packing) {
                    (2, Packing::Varint) => payload.iter().filter(|&&byte| byte < 0x80).count(),
                    (2, Packing::Fixed32) => payload.len() / 4,
                    _ => 1,
                };
                numbers.saturating_mul(in_vector(*size))
            }
            Text => 2 * payload.len(),
            Texts => in_vector(size_of::<String>()) + 2 * payload.len(),
            // The first slice of a file makes it shared, which takes a few words once.
            Slice => 0,
            Slices(_) => in_vector(size_of::<Bytes>()),
            Inner(inner) => {
                walk(payload, inner, cost)?;
                0
            }
            List(inner) => {
                walk(payload, inner, cost)?;
                in_vector(inner.size)
            }
        };
    }
    Ok(())
}

fn skip<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (payload, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(payload)
}

/// A number of seven bits a byte, at most ten bytes.
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in rest.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<M: Costed + std::fmt::Debug>(bytes: &[u8]) -> String {
        decode::<M>(&Bytes::copy_from_slice(bytes), &mut Budget::of_file(0)).unwrap_err()
    }

    #[test]
    fn a_message_costs_what_its_vectors_may_take() {
        let graph = GraphProto { node: vec![Bytes::new(); 100], name: "g".into(), ..Default::default() };
        let bytes = graph.encode_to_vec();
        assert_eq!(cost::<GraphProto>(&bytes).unwrap(), 100 * 4 * size_of::<Bytes>() + 2 + size_of::<GraphProto>());
        let mut budget = Budget::of_file(0);
        assert_eq!(decode::<GraphProto>(&bytes.into(), &mut budget).unwrap().0, graph);
    }

    #[test]
    fn what_is_cut_short_or_strange_is_refused() {
        assert!(problem::<ModelProto>(&[0x80]).contains("cut short"));
        assert!(problem::<ModelProto>(&[2 << 3 | 2, 5, b'a']).contains("longer than what is there"));
        assert!(problem::<ModelProto>(&[1 << 3 | 3]).contains("wire type 3"));
        assert!(problem::<ModelProto>(&[0]).contains("number 0"));
        assert!(problem::<ModelProto>(&[7 << 3, 1]).contains("not that of its kind"));
        // A tensor with its raw data twice: the second would replace the first.
        assert!(problem::<TensorProto>(&[9 << 3 | 2, 0, 9 << 3 | 2, 0]).contains("more than once"));
        let long = NodeProto { name: "x".repeat(5000), ..Default::default() }.encode_to_vec();
        assert!(problem::<NodeProto>(&long).contains("5000 bytes"));
    }

    #[test]
    fn more_than_the_budget_is_refused_before_it_is_decoded() {
        // A million numbers of one byte each would be 8 MB, in growth 32.
        let mut bytes = vec![8 << 3 | 2, 0xc0, 0x84, 0x3d];
        bytes.resize(4 + 1_000_000, 1);
        let mut small = Budget::of_file(0);
        small.take(small.left() - 20_000_000).unwrap();
        let error = decode::<AttributeProto>(&bytes.into(), &mut small).unwrap_err();
        assert!(error.contains("more memory"), "{error}");
    }
}
