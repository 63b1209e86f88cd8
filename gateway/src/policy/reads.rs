//! Which of the facts that change from request to request a policy reads.
//!
//! In: a policy's syntax tree. Out: a [`Reads`], from which the cache learns what a decision depends on beside the
//! question itself. It may say too much, it must never say too little: what it does not recognise reads everything.

use std::sync::Arc;

use cedar_policy::{Policy, pst};
use pst::{Clause, Expr, Var};

/// A fact that two requests with the same question can differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Volatile {
    /// `context.text`
    Text = 1,
    /// `context.session.id`
    SessionId = 2,
    /// `context.session.now`
    Now = 4,
    /// `context.session.weekday`
    Weekday = 8,
    /// `context.session.hour`
    Hour = 16,
    /// `context.session.grants`
    Grants = 32,
    /// `context.session.application`
    Application = 64,
}

impl Volatile {
    const ALL: [Self; 7] =
        [Self::Text, Self::SessionId, Self::Now, Self::Weekday, Self::Hour, Self::Grants, Self::Application];

    fn from_attribute(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "id" => Some(Self::SessionId),
            "now" => Some(Self::Now),
            "weekday" => Some(Self::Weekday),
            "hour" => Some(Self::Hour),
            "grants" => Some(Self::Grants),
            "application" => Some(Self::Application),
            _ => None,
        }
    }
}

/// A set of volatile facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads(u8);

impl Reads {
    /// Reads everything.
    pub(super) fn all() -> Self {
        Volatile::ALL.into_iter().fold(Self::default(), Self::with)
    }

    #[must_use]
    pub(super) fn with(self, fact: Volatile) -> Self {
        Self(self.0 | fact as u8)
    }

    #[must_use]
    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, fact: Volatile) -> bool {
        self.0 & fact as u8 != 0
    }

    /// Whether a decision is good for one request only: texts and times seldom come back, session ids never.
    pub(super) fn forbid_caching(self) -> bool {
        self.has(Volatile::Text) || self.has(Volatile::Now) || self.has(Volatile::SessionId)
    }

    /// What the clauses of `policy` read. A scope reads no context.
    pub(super) fn of(policy: &Policy) -> Self {
        let Ok(tree) = policy.to_pst() else { return Self::all() };
        tree.body().clauses().iter().fold(Self::default(), |reads, clause| match clause {
            Clause::When(condition) | Clause::Unless(condition) => reads.union(Self::of_expression(condition)),
        })
    }

    /// Any attribute of such a name counts, wherever it stands; `context` and `session` as values count as everything.
    fn of_expression(root: &Arc<Expr>) -> Self {
        let mut reads = Self::default();
        let mut waiting: Vec<(&Expr, bool)> = vec![(root, false)];
        while let Some((expression, attribute_follows)) = waiting.pop() {
            match expression {
                Expr::Literal(_) | Expr::Slot(_) => {}
                Expr::Var(Var::Context) if !attribute_follows => return Self::all(),
                Expr::Var(_) => {}
                Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => waiting.push((expr, false)),
                Expr::BinaryOp { left, right, .. } => waiting.extend([(left.as_ref(), false), (right.as_ref(), false)]),
                Expr::GetAttr { expr, attr } => {
                    if attr == "session" && !attribute_follows {
                        return Self::all();
                    }
                    reads = Volatile::from_attribute(attr).map_or(reads, |fact| reads.with(fact));
                    waiting.push((expr, true));
                }
                Expr::HasAttr { expr, attrs } => {
                    reads = attrs.iter().filter_map(|attr| Volatile::from_attribute(attr)).fold(reads, Self::with);
                    waiting.push((expr, true));
                }
                Expr::Is { expr, in_expr, .. } => {
                    waiting.push((expr, false));
                    waiting.extend(in_expr.iter().map(|group| (group.as_ref(), false)));
                }
                Expr::IfThenElse { cond, then_expr, else_expr } => {
                    waiting.extend([cond, then_expr, else_expr].map(|branch| (branch.as_ref(), false)));
                }
                Expr::Set(items) => waiting.extend(items.iter().map(|item| (item.as_ref(), false))),
                Expr::Record(fields) => waiting.extend(fields.values().map(|field| (field.as_ref(), false))),
                _ => return Self::all(),
            }
        }
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(condition: &str) -> Reads {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        Reads::of(&text.parse().unwrap())
    }

    #[test]
    fn finds_each_fact() {
        assert_eq!(reads("context.text like \"*x*\""), Reads::default().with(Volatile::Text));
        assert_eq!(reads("context.session.hour > 3"), Reads::default().with(Volatile::Hour));
        assert_eq!(reads("context.session has application"), Reads::default().with(Volatile::Application));
        assert_eq!(reads("context has session.application"), Reads::default().with(Volatile::Application));
        assert_eq!(
            reads(
                "if context.session.grants.contains(\"g\") then context.session.now == context.session.now else true"
            ),
            Reads::default().with(Volatile::Grants).with(Volatile::Now)
        );
        assert_eq!(reads("!([context[\"text\"]].contains(\"a\"))"), Reads::default().with(Volatile::Text));
    }

    #[test]
    fn steady_facts_are_free() {
        assert_eq!(reads("context.where == context.command && resource.name like \"a*\""), Reads::default());
        assert_eq!(reads("context.session.login == \"app\""), Reads::default());
    }

    #[test]
    fn what_is_passed_on_whole_reads_everything() {
        assert_eq!(reads("[context].contains(context)"), Reads::all());
        assert_eq!(reads("context.session == context.session"), Reads::all());
        assert_eq!(reads("{a: context}.a.command == \"x\""), Reads::all());
        assert_eq!(reads("(if true then context.session else context.session).login == \"x\""), Reads::all());
    }
}
