//! SQL facts, lineage, masking at the source, and what the journal keeps of a text. In: any text. Statements must lie one
//! behind another in it, what an output derives from must be read, and what is sent instead must be readable.
#![no_main]

use gateway::masking::plan::Origin;
use gateway::protocol::postgres::sql::facts::RelationName;
use gateway::protocol::postgres::sql::lineage::{Col, Derived, Expected, Following, Relations, Shape, Slot, follow};
use gateway::protocol::postgres::sql::source::{Meant, Sources, rewrite};
use gateway::protocol::postgres::sql::{Caps, read, redact};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(facts) = read(text, &Caps::default()) else { return };
    let mut end = 0;
    for statement in &facts.statements {
        assert!(statement.span.start >= end && statement.span.end <= text.len(), "statements lie one behind another");
        end = statement.span.end;
    }
    let _ = redact(text, &facts, |_| false);
    let _ = redact(text, &facts, |_| true);
    let Ok(text) = std::str::from_utf8(text) else { return };
    for lineage in follow(text, Following { relations: &Letters, shows_nulls: true }).into_iter().flatten() {
        assert!(lineage.outputs.all().from.is_subset(&lineage.read), "an output derives from what is not read");
    }
    if let Ok(Some(sent)) = rewrite(text, &Letters) {
        let sent = read(sent.as_bytes(), &Caps::default()).expect("what is sent can be read");
        assert_eq!(sent.statements.len(), facts.statements.len(), "as many statements are sent");
    }
});

/// Relations of an even number of letters have columns `a` to `d`, the others are of no interest.
struct Letters;

impl Relations for Letters {
    fn shape(&self, name: &RelationName) -> Shape {
        let relation = u32::try_from(name.name.len()).unwrap_or(1);
        if relation % 2 == 1 {
            return Shape::outside();
        }
        let col = |(attribute, name): (i16, &str)| {
            let origin = Origin { relation, attribute };
            let derived = Derived { from: [origin].into(), ..Derived::default() };
            Slot::One(Col { name: Some(name.into()), derived, expected: Expected::Origin(origin) })
        };
        Shape((1..).zip(["a", "b", "c", "d"]).map(col).collect())
    }
}


impl Sources for Letters {
    fn meant(&self, name: &RelationName, _: bool) -> Meant<'_> {
        match name.name.len() % 2 {
            0 => Meant::Query("SELECT a, 0 AS b FROM s.r", ("s", "r")),
            _ => Meant::Itself,
        }
    }
}
