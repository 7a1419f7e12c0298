//! YAML with places: every value knows the line it stands on, so that a complaint can name it.

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use std::fmt;

/// One YAML value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u64,
    tree: Tree,
}

#[derive(Debug)]
enum Tree {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads YAML text; the error already names line and column.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str::<Spanned<Tree>>(text).map(Self::from).map_err(|error| error.to_string())
    }

    /// The same value without places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Scalar(value) => value.clone(),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Map(members) => {
                Value::Object(members.iter().map(|(key, node)| (key.clone(), node.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.tree, Tree::Map(_))
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.tree, Tree::List(_))
    }

    /// Whether nothing stands there, as in an empty file.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.tree, Tree::Scalar(Value::Null))
    }

    /// Members of a mapping, in the file's order; nothing for other values.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        if let Tree::Map(members) = &self.tree { members } else { &[] }
    }

    /// Items of a list; nothing for other values.
    pub(crate) fn items(&self) -> &[Self] {
        if let Tree::List(items) = &self.tree { items } else { &[] }
    }

    pub(crate) fn member(&self, key: &str) -> Option<&Self> {
        self.members().iter().find_map(|(name, node)| (name == key).then_some(node))
    }

    /// The line of the first member called `key` anywhere below, for "unknown field" complaints.
    pub(crate) fn line_of(&self, key: &str) -> Option<u64> {
        self.member(key).map(|node| node.line).or_else(|| {
            let below = self.members().iter().map(|(_, node)| node).chain(self.items());
            below.filter_map(|node| node.line_of(key)).min()
        })
    }
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        Self { line: spanned.referenced.line(), tree: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Tree, D::Error> {
        Tree::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element::<Spanned<Tree>>()? {
            items.push(item.into());
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = from.next_entry::<String, Spanned<Tree>>()? {
            members.push((key, value.into()));
        }
        Ok(Tree::Map(members))
    }
}
