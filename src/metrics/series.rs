//! From a name of the catalogue and values for its labels to a handle at the exporter.
//!
//! There is no global recorder: what is measured is said to a registry that `Metrics` owns.

use std::borrow::Cow;

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::names::{FAMILIES, Kind, family};

const METADATA: Metadata<'static> = Metadata::new("sandbox_pool", Level::INFO, None);

/// Every series that is exported.
pub(super) struct Registry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Registry {
    /// The catalogue's metrics, described and with their buckets, and no series yet.
    pub(super) fn new() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for family in FAMILIES {
            if let Kind::Histogram(buckets) = family.kind {
                builder = builder.set_buckets_for_metric(Matcher::Full(family.name.to_owned()), buckets)?;
            }
        }
        let recorder = builder.build_recorder();
        for family in FAMILIES {
            let (name, help) = (family.name.into(), family.help.into());
            match family.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        Ok(Self { recorder, handle })
    }

    pub(super) fn counter(&self, name: &str, values: &[Cow<'static, str>]) -> Counter {
        self.recorder.register_counter(&key(name, values), &METADATA)
    }

    pub(super) fn gauge(&self, name: &str, values: &[Cow<'static, str>]) -> Gauge {
        self.recorder.register_gauge(&key(name, values), &METADATA)
    }

    pub(super) fn histogram(&self, name: &str, values: &[Cow<'static, str>]) -> Histogram {
        self.recorder.register_histogram(&key(name, values), &METADATA)
    }

    /// Takes recorded durations into their buckets; without this they pile up between scrapes.
    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The text form.
    pub(super) fn render(&self) -> String {
        self.handle.render()
    }
}

fn key(name: &str, values: &[Cow<'static, str>]) -> Key {
    let labels = family(name).map_or(&[][..], |family| family.labels);
    debug_assert_eq!(labels.len(), values.len(), "{name}");
    let labels: Vec<Label> =
        labels.iter().zip(values).map(|(label, value)| Label::new(*label, value.clone())).collect();
    Key::from_parts(name.to_owned(), labels)
}
