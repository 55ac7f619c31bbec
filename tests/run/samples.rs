//! The sample modules do what they say.

use serde_json::{Value, json};

use crate::support::{Edge, Output, c_filter, optional, readings, run, sample};

/// What a filter passes of the sample readings: everything over 25 degrees.
fn expected() -> Vec<Value> {
    let text = String::from_utf8(readings()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // Counted from 0: 25.1, 26.4, 27.9, 30.5, 2.6e1, 25.01, 99.9.
    [5, 6, 7, 10, 15, 16, 18]
        .map(|at: usize| serde_json::from_str(lines[at]).unwrap())
        .to_vec()
}

fn filters(output: Output) {
    let output = output
        .code(1)
        .prints(expected())
        .says("temperature is no number: \"hot\"");
    assert_eq!(output.err.lines().count(), 2, "{output:#?}");
    for line in output.lines() {
        assert_eq!(
            (&line["output"], &line["properties"]),
            (&json!("output1"), &json!({}))
        );
    }
}

#[test]
fn the_filter_passes_what_is_over_the_threshold() {
    filters(run(sample("filter")).output(readings()));
    filters(
        run(sample("filter"))
            .args("--mode per-message")
            .output(readings()),
    );
}

#[test]
fn the_filter_in_c_passes_the_same() {
    filters(run(c_filter()).output(readings()));
    filters(
        run(c_filter())
            .args("--mode per-message")
            .output(readings()),
    );
}

#[test]
fn the_filter_in_javascript_passes_the_same() {
    if let Some(path) = optional("filter-js.wasm") {
        filters(run(path).output(readings()));
    }
}

#[test]
fn the_filter_in_python_passes_the_same() {
    if let Some(path) = optional("filter-python.wasm") {
        filters(run(path).output(readings()));
    }
}

#[test]
fn the_filters_output_is_the_body_byte_by_byte() {
    let body = "{ \"temperature\" :  2.60e1, \"x\":\"\u{e9}\" }";
    for component in [sample("filter"), c_filter()] {
        let output = run(component).output(body).code(0);
        assert!(
            output.out.contains(&format!("\"body\":{body},")),
            "{output:#?}"
        );
    }
}

#[test]
fn a_property_counts_before_the_body() {
    for component in [sample("filter"), c_filter()] {
        let with = |temperature: &str| {
            let filter = run(&component).property("temperature", temperature);
            filter.args("--body {\"temperature\":1}").output("")
        };
        with("25.1").code(0).prints([json!({"temperature": 1})]);
        with("25").code(0).prints_nothing();
        with("warm")
            .code(1)
            .says("temperature is no number: warm")
            .prints_nothing();
    }
}

fn aggregator() -> Edge {
    run(sample("aggregator")).args("--grant state --env window=3")
}

#[test]
fn the_aggregator_sends_an_average_for_every_window() {
    let input: String = [1, 2, 6, 10, 20, 30, 7]
        .map(|t| format!("{{\"temperature\":{t}}}\n"))
        .concat();
    let window = |count: u64, average: f64, min: f64, max: f64| json!({"count": count, "average": average, "min": min, "max": max});
    for mode in ["resident", "per-message"] {
        let output = aggregator()
            .args("--mode")
            .args(mode)
            .output(&input)
            .code(0)
            .silent();
        output.prints([window(3, 3.0, 1.0, 6.0), window(3, 20.0, 10.0, 30.0)]);
    }
}

#[test]
fn the_sensor_sends_readings_at_its_times_and_only_as_many_as_it_is_told() {
    let sensor =
        run(sample("sensor")).args("--timer poll=20ms --env count=3 --env drift=2 --for 1s");
    let output = sensor.output("").code(0).silent();
    let temperatures: Vec<_> = output
        .bodies()
        .iter()
        .map(|body| body["machine"]["temperature"].clone())
        .collect();
    assert_eq!(
        temperatures,
        [json!(21.0), json!(23.0), json!(25.0)],
        "{output:#?}"
    );
    assert_eq!(output.lines()[2]["output"], json!("temperatureOutput"));
    assert_eq!(
        output.lines()[2]["properties"],
        json!({"temperature": "25"})
    );
}

#[test]
fn the_sensor_pauses_when_its_twin_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let twin = dir.path().join("twin.json");
    std::fs::write(&twin, r#"{"desired":{"sendData":false}}"#).unwrap();
    let sensor = run(sample("sensor"))
        .args("--timer poll=10ms --for 300ms --twin")
        .arg(twin);
    let output = sensor.output("").code(0);
    assert!(!output.out.contains("machine"), "{output:#?}");
}

#[test]
fn timers_run_until_the_time_is_over_also_when_the_input_has_ended() {
    let sensor = run(sample("sensor")).args("--timer poll=50ms --for 500ms");
    let output = sensor.output("").code(0).silent();
    assert!((5..=10).contains(&output.lines().len()), "{output:#?}");
    let took = output.took.as_millis();
    assert!((500..1_500).contains(&took), "{took} ms");
}

#[test]
fn a_service_runs_once_and_what_it_sends_is_printed() {
    let output = run(sample("service")).output("").code(0).silent();
    output.prints([json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
}

#[test]
fn a_service_gets_its_arguments_and_its_failure_is_the_programs() {
    let service = |argument: &str| run(sample("service")).arg("--arg").arg(argument).output("");
    service("1").code(0).silent().prints([json!({"n": 1})]);
    let failed = service("many").code(1).prints_nothing();
    failed
        .says("[service] warn: how many messages: ")
        .says("module service failed: ");
}

#[test]
fn a_service_waits_where_the_hub_takes_no_more_and_all_of_its_messages_come_out() {
    let output = run(sample("service"))
        .args("--arg 30000")
        .output("")
        .code(0)
        .silent();
    assert_eq!(
        output.bodies(),
        (1..=30_000).map(|n| json!({"n": n})).collect::<Vec<_>>()
    );
}

#[test]
fn a_body_for_modules_that_take_none_is_refused() {
    for component in ["service", "sensor"] {
        let output = run(sample(component)).args("--body x --for 1s").output("");
        output
            .says("--body: none of the modules takes messages")
            .code(2);
    }
}
