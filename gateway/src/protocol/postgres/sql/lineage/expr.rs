//! What an expression derives from.
//!
//! In: an expression and the names in reach. Out: the columns that its value derives from. What has no rule of its own
//! derives from all that stands below it. What chooses, sorts or counts rows is compared on the way.

use super::scope::{Env, Level};
use super::shape::{Col, Derived, Expected, How, Shape, Sources};
use super::{COLUMNS, Lost, Resolver};
use crate::protocol::postgres::sql::call::chooses_rows;
use crate::protocol::postgres::sql::children::children;
use crate::protocol::postgres::sql::functions::{self, FunctionClass};
use crate::protocol::postgres::sql::names;
use crate::protocol::postgres::sql::parse::{Node, SubLinkType, nodes};

impl<'a> Resolver<'_> {
    /// What the value of an expression derives from.
    pub(super) fn derive(&mut self, node: Node<'a>, env: &Env<'_, 'a>) -> Result<Derived, Lost> {
        self.spend(1)?;
        self.below(|this| this.value(node, env))
    }

    fn value(&mut self, node: Node<'a>, env: &Env<'_, 'a>) -> Result<Derived, Lost> {
        match node {
            Node::None | Node::String(_) | Node::Integer(_) | Node::Alias(_) | Node::GroupingFunc(_) => {
                Ok(Derived::constant())
            }
            Node::A_Const(constant) => {
                let how = if constant.val().is_none() { How::Null } else { How::Computed };
                Ok(Derived { how, ..Derived::default() })
            }
            Node::ColumnRef(reference) => Ok(self.column(reference, env)?.derived),
            Node::FuncCall(call) => self.call(call, env),
            Node::SubLink(link) => self.sublink(link, env),
            Node::SelectStmt(_) => Ok(self.query(node, env)?.all().then_computed()),
            Node::A_Indirection(value) => self.field(value, env),
            Node::NullTest(test) => {
                let derived = self.derive(test.arg(), env)?;
                let tells_nothing = self.shows_nulls && matches!(derived.how, How::Null | How::Column);
                Ok(if tells_nothing && !derived.is_unknown { Derived::constant() } else { derived.then_computed() })
            }
            Node::TypeCast(cast) => {
                let derived = self.derive(cast.arg(), env)?;
                Ok(if derived.how == How::Null { derived } else { derived.then_computed() })
            }
            // What stands in them says which rows come, or in which order.
            Node::SortBy(_) | Node::WindowDef(_) => {
                self.compare_children(node, env)?;
                Ok(Derived::constant())
            }
            _ => self.all_below(node, env),
        }
    }

    /// What any of its parts derives from.
    pub(super) fn all_below(&mut self, node: Node<'a>, env: &Env<'_, 'a>) -> Result<Derived, Lost> {
        let mut parts = Vec::new();
        children(node, &mut parts).map_err(|_| Lost)?;
        let mut all = Derived::constant();
        for part in parts {
            all.or(&self.derive(part, env)?);
        }
        Ok(all.then_computed())
    }

    /// Values by which rows are chosen, joined, sorted or grouped.
    pub(super) fn compare(&mut self, node: Node<'a>, env: &Env<'_, 'a>) -> Result<(), Lost> {
        let derived = self.derive(node, env)?;
        self.compared.extend(derived.from);
        Ok(())
    }

    fn compare_children(&mut self, node: Node<'a>, env: &Env<'_, 'a>) -> Result<(), Lost> {
        let all = self.all_below(node, env)?;
        self.compared.extend(all.from);
        Ok(())
    }

    fn call(&mut self, call: &'a nodes::FuncCall, env: &Env<'_, 'a>) -> Result<Derived, Lost> {
        let parts = names::parts(Node::NodeList(call.funcname()));
        let (schema, name) = names::schema_and_name(&parts).ok_or(Lost)?;
        if functions::relation_behind(&name).is_some() {
            return Err(Lost);
        }
        let mut all = Derived::constant();
        let mut only_columns = true;
        for argument in call.args() {
            let derived = self.derive(argument, env)?;
            only_columns &= matches!(derived.how, How::Null | How::Column | How::Row);
            all.or(&derived);
        }
        self.compare(call.agg_filter(), env)?;
        if let Some(window) = call.over() {
            self.compare_children(Node::WindowDef(window), env)?;
        }
        let mut sorted = Sources::new();
        for by in call.agg_order() {
            sorted.extend(self.derive(by.node(), env)?.from);
        }
        self.compared.extend(sorted.iter().copied());
        if chooses_rows(call, &name) {
            self.compared.extend(all.from.iter().copied());
        }
        // percentile_disc(0.5) WITHIN GROUP (ORDER BY c) is one of the values of c.
        if call.agg_within_group {
            all.from.extend(sorted);
        }
        let class = functions::class(schema.as_deref(), &name);
        if !matches!(class, FunctionClass::Pure | FunctionClass::Reader) {
            self.moved.extend(all.from.iter().copied());
            all.is_unknown |= !matches!(class, FunctionClass::Session | FunctionClass::Volatile);
        }
        let is_clean = functions::cleanses(&name) && class == FunctionClass::Pure && only_columns && self.shows_nulls;
        Ok(if is_clean { Derived::constant() } else { all.then_computed() })
    }

    fn sublink(&mut self, link: &'a nodes::SubLink, env: &Env<'_, 'a>) -> Result<Derived, Lost> {
        let test = self.derive(link.testexpr(), env)?;
        let shape = self.query(link.subselect(), env)?;
        if link.sub_link_type == SubLinkType::EXISTS_SUBLINK {
            // Which rows there are was compared; what is in them is not looked at.
            return Ok(Derived::constant());
        }
        let mut all = shape.all();
        all.or(&test);
        Ok(all.then_computed())
    }

    /// `(relation).column`, or a field of some other value.
    fn field(&mut self, value: &'a nodes::A_Indirection, env: &Env<'_, 'a>) -> Result<Derived, Lost> {
        let mut derived = match (row_named(value.arg(), env), value.indirection().get(0)) {
            (Some(label), Some(Node::String(field))) => {
                let field = field.sval().ok_or(Lost)?;
                let col = self.qualified((None, label), field, env)?;
                self.read.extend(col.derived.from.iter().copied());
                let is_alone = value.indirection().len() == 1;
                if is_alone { col.derived } else { col.derived.then_computed() }
            }
            _ => self.derive(value.arg(), env)?.then_computed(),
        };
        for part in value.indirection() {
            if let Node::A_Indices(_) = part {
                derived.or(&self.derive(part, env)?);
            }
        }
        Ok(derived)
    }

    /// Columns that a target makes: one, or those of a star.
    pub(super) fn target(&mut self, target: &'a nodes::ResTarget, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let value = target.val();
        if let Node::ColumnRef(reference) = value
            && reference.fields().iter().any(|field| matches!(field, Node::A_Star(_)))
        {
            return self.star(reference, env);
        }
        if let Node::A_Indirection(fields) = value
            && fields.indirection().iter().any(|field| matches!(field, Node::A_Star(_)))
        {
            if let Some(item) = row_named(fields.arg(), env).and_then(|label| env.item(label))
                && fields.indirection().len() == 1
            {
                self.read.extend(item.shape.all().from);
                return Ok(Shape::clone(&item.shape));
            }
            return Ok(Shape::of(self.derive(value, env)?.then_computed()));
        }
        let name = target.name().or_else(|| name_of(value));
        let col = match value {
            Node::ColumnRef(reference) => self.column(reference, env)?,
            _ => Col { derived: self.derive(value, env)?, expected: expected(value), name: None },
        };
        Ok(Shape(vec![super::shape::Slot::One(Col { name: name.map(Into::into), ..col })]))
    }

    /// The columns of a target list.
    pub(super) fn targets(
        &mut self,
        targets: impl IntoIterator<Item = &'a nodes::ResTarget>,
        env: &Env<'_, 'a>,
    ) -> Result<Shape, Lost> {
        let mut shape = Shape::default();
        for target in targets {
            shape.0.extend(self.target(target, env)?.0);
            if shape.0.len() > COLUMNS {
                return Err(Lost);
            }
        }
        Ok(shape)
    }

    /// What a call in FROM derives from. How many rows it gives, and what is in them, tells of its arguments.
    pub(super) fn compare_all(
        &mut self,
        node: Node<'a>,
        level: &Level<'_, 'a>,
        env: &Env<'_, 'a>,
    ) -> Result<Derived, Lost> {
        let all = self.all_below(node, &Env { level: Some(level), ctes: env.ctes.clone() })?;
        self.compared.extend(all.from.iter().copied());
        Ok(all)
    }
}

/// The label of an item whose whole row an expression is, unless a column has that name.
fn row_named<'e>(value: Node<'e>, env: &Env<'_, '_>) -> Option<&'e str> {
    let Node::ColumnRef(reference) = value else { return None };
    let label = reference.fields().get(0).and_then(Node::as_str).filter(|_| reference.fields().len() == 1)?;
    env.item(label)?;
    let mut levels = std::iter::successors(env.level, |level| level.outer);
    let is_column = levels.any(|level| {
        level.items.iter().filter(|item| item.is_bare).any(|item| {
            let hit = item.shape.find(label);
            hit.sure.is_some() || hit.maybe.is_some_and(|maybe| !maybe.is_clean())
        })
    });
    (!is_column).then_some(label)
}

/// The name that the server gives a column without one (`FigureColname`), where that is plain to see.
fn name_of(value: Node<'_>) -> Option<&str> {
    let last = |list: &'_ crate::protocol::postgres::sql::parse::NodeList| list.len().checked_sub(1);
    match value {
        Node::ColumnRef(c) => c.fields().get(last(c.fields())?).and_then(Node::as_str),
        Node::FuncCall(c) => c.funcname().get(last(c.funcname())?).and_then(Node::as_str),
        _ => None,
    }
}

/// What the server will say of the origin of an expression. A function of one row is a field of it, and a cast that
/// changes nothing is none.
fn expected(value: Node<'_>) -> Expected {
    match value {
        Node::A_Const(_)
        | Node::A_Expr(_)
        | Node::BoolExpr(_)
        | Node::CaseExpr(_)
        | Node::CoalesceExpr(_)
        | Node::MinMaxExpr(_)
        | Node::SubLink(_)
        | Node::RowExpr(_)
        | Node::A_ArrayExpr(_)
        | Node::SQLValueFunction(_) => Expected::Nothing,
        Node::FuncCall(call) if call.args().len() != 1 => Expected::Nothing,
        _ => Expected::Any,
    }
}
