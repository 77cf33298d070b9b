//! A graph as its JSON tells it, and the list of calls that it comes to.

use std::ptr;

use super::json::Json;
use super::packed::{Call, Tensor};
use crate::areas::Areas;
use crate::dtype::Dtype;
use crate::status::Status;

/// Copies a tensor; needs no kernel.
const COPY: &[u8] = b"__copy";
/// Gives a tensor another shape; nothing to do.
const NOTHING: &[u8] = b"__nop";

/// A graph. An entry is a tensor: one output of one node.
#[derive(Default)]
pub struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    /// For each node, its first entry.
    first_entry: Vec<usize>,
    dtypes: Vec<&'a [u8]>,
    areas: Vec<&'a [u8]>,
    offsets: Vec<usize>,
    shapes: Vec<Shape>,
}

#[derive(Default)]
struct Node<'a> {
    /// None for a tensor that is there from the start.
    kernel: Option<&'a [u8]>,
    /// A node and which of its outputs.
    inputs: Vec<(usize, usize)>,
}

/// Extents, and elements from one index of each axis to the next.
#[derive(Default)]
struct Shape {
    extents: Vec<i64>,
    strides: Vec<i64>,
    elements: usize,
}

impl Shape {
    fn parse(json: &mut Json) -> Option<Shape> {
        let mut shape = Shape { elements: 1, ..Shape::default() };
        json.array(|json| {
            let extent = json.integer()?;
            shape.elements = shape.elements.checked_mul(extent)?;
            shape.extents.push(i64::try_from(extent).ok()?);
            Some(())
        })?;
        let mut stride = 1i64;
        for extent in shape.extents.iter().rev() {
            shape.strides.push(stride);
            stride = stride.checked_mul(*extent)?;
        }
        shape.strides.reverse();
        Some(shape)
    }
}

impl<'a> Graph<'a> {
    /// Reads a graph's JSON.
    pub fn parse(text: &'a [u8]) -> Option<Graph<'a>> {
        let mut graph = Graph::default();
        let Graph { nodes, first_entry, dtypes, areas, offsets, shapes } = &mut graph;
        Json::new(text).object(|json, key| match key {
            b"nodes" => json.array(|json| Node::parse(json).map(|node| nodes.push(node))),
            b"node_row_ptr" => json.array(|json| json.integer().map(|it| first_entry.push(it))),
            b"attrs" => json.object(|json, key| match key {
                b"dltype" => tagged(json, |json| json.string().map(|it| dtypes.push(it))),
                b"storage_kind" => tagged(json, |json| json.string().map(|it| areas.push(it))),
                b"storage_offset" => tagged(json, |json| json.integer().map(|it| offsets.push(it))),
                b"shape" => tagged(json, |json| Shape::parse(json).map(|it| shapes.push(it))),
                _ => json.skip(),
            }),
            _ => json.skip(),
        })?;
        Some(graph)
    }

    /// Every entry's tensor, each within its area.
    pub fn tensors(&self, areas: &Areas) -> Option<Vec<Entry>> {
        let mut tensors = Vec::new();
        for (index, shape) in self.shapes.iter().enumerate() {
            let dtype = dtype_named(self.dtypes.get(index)?)?;
            let offset = *self.offsets.get(index)?;
            let size = shape.elements.checked_mul(dtype.size())?;
            let (start, area_size) = match *self.areas.get(index)? {
                b"inputs" => (areas.inputs.start(), areas.inputs.size()),
                b"outputs" => (areas.outputs.start(), areas.outputs.size()),
                b"workspace" => (areas.workspace.start(), areas.workspace.size()),
                b"params" => (areas.params.start() as *mut u8, areas.params_size),
                _ => return None,
            };
            if offset.checked_add(size)? > area_size {
                return None;
            }
            // SAFETY: within the area.
            let data = unsafe { start.add(offset) };
            tensors.push(Entry { tensor: Tensor::new(data, dtype, &shape.extents, &shape.strides), size });
        }
        Some(tensors)
    }

    /// The calls in the order they run.
    pub fn steps<'t>(&self, entries: &'t [Entry]) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let kernel = match node.kernel {
                None | Some(NOTHING) => continue,
                Some(kernel) => kernel,
            };
            let mut arguments: Vec<&'t Entry> = Vec::new();
            for &(node, output) in &node.inputs {
                arguments.push(entries.get(self.first_entry.get(node)?.checked_add(output)?)?);
            }
            arguments.extend(entries.get(*self.first_entry.get(index)?..*self.first_entry.get(index + 1)?)?);
            steps.push(Step::new(kernel, &arguments)?);
        }
        Some(steps)
    }
}

impl<'a> Node<'a> {
    fn parse(json: &mut Json<'a>) -> Option<Node<'a>> {
        let mut node = Node::default();
        json.object(|json, key| match key {
            b"attrs" => json.object(|json, key| match key {
                b"func_name" => json.string().map(|name| node.kernel = Some(name)),
                _ => json.skip(),
            }),
            b"inputs" => json.array(|json| {
                let mut numbers = [0; 3]; // node, output, version
                let mut places = numbers.iter_mut();
                json.array(|json| json.integer().and_then(|it| places.next().map(|place| *place = it)))?;
                node.inputs.push((numbers[0], numbers[1]));
                Some(())
            }),
            _ => json.skip(),
        })?;
        Some(node)
    }
}

/// A tensor and its size in bytes.
pub struct Entry {
    tensor: Tensor,
    size: usize,
}

/// One thing to do.
pub enum Step {
    Copy { from: *const u8, to: *mut u8, size: usize },
    Call(Call),
}

impl Step {
    fn new(kernel: &[u8], arguments: &[&Entry]) -> Option<Step> {
        if kernel == COPY {
            return match arguments {
                [from, to] if from.size == to.size => {
                    Some(Step::Copy { from: from.tensor.data, to: to.tensor.data, size: to.size })
                }
                _ => None,
            };
        }
        let tensors: Vec<&Tensor> = arguments.iter().map(|entry| &entry.tensor).collect();
        Call::new(kernel, &tensors).map(Step::Call)
    }

    pub fn run(&self) -> Result<(), Status> {
        match self {
            // SAFETY: both lie within the model's areas.
            Step::Copy { from, to, size } => unsafe { ptr::copy(*from, *to, *size) },
            Step::Call(call) => call.run()?,
        }
        Ok(())
    }
}

/// A list as TVM writes it: `["list_…", […]]`.
fn tagged<'a>(json: &mut Json<'a>, mut element: impl FnMut(&mut Json<'a>) -> Option<()>) -> Option<()> {
    let mut position = 0;
    json.array(|json| {
        position += 1;
        match position {
            1 => json.skip(),
            2 => json.array(&mut element),
            _ => None,
        }
    })
}

fn dtype_named(name: &[u8]) -> Option<Dtype> {
    Some(match name {
        b"float32" => Dtype::Float32,
        b"float64" => Dtype::Float64,
        b"float16" => Dtype::Float16,
        b"int8" => Dtype::Int8,
        b"int16" => Dtype::Int16,
        b"int32" => Dtype::Int32,
        b"int64" => Dtype::Int64,
        b"uint8" => Dtype::Uint8,
        b"uint16" => Dtype::Uint16,
        b"uint32" => Dtype::Uint32,
        b"uint64" => Dtype::Uint64,
        b"bool" => Dtype::Bool,
        _ => return None,
    })
}
