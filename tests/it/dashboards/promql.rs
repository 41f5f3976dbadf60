//! Queries as Prometheus reads them: each parses, and its selectors and counters can be looked at.

use promql_parser::label::Matcher;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use super::files::all_queries;

/// A metric that a query asks for.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub(super) name: String,
    pub(super) matchers: Vec<Matcher>,
    /// The function that it is the range of.
    pub(super) function: Option<&'static str>,
}

/// What Grafana puts in for its variables.
pub(super) fn filled_in(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "5m").replace("$__range", "3h");
    ["job", "instance", "template"].iter().fold(expr, |expr, name| expr.replace(&format!("${name}"), ".+"))
}

pub(super) fn parse(expr: &str) -> Result<Expr, String> {
    parser::parse(&filled_in(expr))
}

/// Every selector of a query.
pub(super) fn selectors(expr: &str) -> Vec<Selector> {
    let parsed = parse(expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
    let mut found = Found(Vec::new());
    walk_expr(&mut found, &parsed).expect("a walk that cannot fail");
    found.0
}

struct Found(Vec<Selector>);

impl Found {
    fn push(&mut self, selector: &VectorSelector, function: Option<&'static str>) {
        let name = selector.name.clone().expect("a selector with a name");
        self.0.push(Selector { name, matchers: selector.matchers.matchers.clone(), function });
    }
}

impl ExprVisitor for Found {
    type Error = ();

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
        if let Expr::VectorSelector(selector) = expr {
            self.push(selector, None);
        }
        if let Expr::Call(call) = expr {
            for argument in &call.args.args {
                if let Expr::MatrixSelector(matrix) = &**argument {
                    self.push(&matrix.vs, Some(call.func.name));
                }
            }
        }
        Ok(true)
    }
}

#[test]
fn every_query_parses() {
    let queries = all_queries();
    assert!(queries.len() > 100, "{}", queries.len());
    for query in queries {
        if let Err(error) = parse(&query.expr) {
            panic!("{}: {error}\n{}", query.place, query.expr);
        }
    }
}

#[test]
fn counters_are_read_as_rates_and_gauges_are_not() {
    for query in all_queries() {
        for selector in selectors(&query.expr) {
            let rates = ["rate", "irate", "increase"];
            let is_rate = selector.function.is_some_and(|function| rates.contains(&function));
            let counts = ["_total", "_bucket", "_sum", "_count"];
            let is_counter = counts.iter().any(|suffix| selector.name.ends_with(suffix));
            assert_eq!(is_rate, is_counter, "{}: {}", query.place, selector.name);
        }
    }
}
