//! Types of functions as a module writes them, to compare and to print. It says nothing about values.

use std::fmt;

/// The type of one parameter or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of WebAssembly")]
pub enum WireType {
    I32,
    I64,
    F32,
    F64,
    V128,
    Reference,
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Types of the parameters, in order.
    pub params: Vec<WireType>,
    /// Types of the results, in order.
    pub results: Vec<WireType>,
}

impl Signature {
    pub(crate) fn new(params: &[WireType], results: &[WireType]) -> Self {
        Signature { params: params.to_vec(), results: results.to_vec() }
    }
}

impl From<&wasmparser::FuncType> for Signature {
    fn from(function: &wasmparser::FuncType) -> Self {
        Signature {
            params: function.params().iter().map(WireType::from).collect(),
            results: function.results().iter().map(WireType::from).collect(),
        }
    }
}

impl From<&wasmparser::ValType> for WireType {
    fn from(value: &wasmparser::ValType) -> Self {
        match value {
            wasmparser::ValType::I32 => WireType::I32,
            wasmparser::ValType::I64 => WireType::I64,
            wasmparser::ValType::F32 => WireType::F32,
            wasmparser::ValType::F64 => WireType::F64,
            wasmparser::ValType::V128 => WireType::V128,
            wasmparser::ValType::Ref(_) => WireType::Reference,
        }
    }
}

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WireType::I32 => "i32",
            WireType::I64 => "i64",
            WireType::F32 => "f32",
            WireType::F64 => "f64",
            WireType::V128 => "v128",
            WireType::Reference => "ref",
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.params)?;
        match self.results.as_slice() {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            many => {
                f.write_str(" -> ")?;
                write_list(f, many)
            }
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, types: &[WireType]) -> fmt::Result {
    f.write_str("(")?;
    for (index, wire) in types.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{wire}")?;
    }
    f.write_str(")")
}
