//! Phase 5 on a real PostgreSQL.

mod common;

use common::{Target, number, text};
use serde_json::json;
use target_kit::test_postgres::Database;

#[tokio::test]
async fn rows_are_made_once_and_queried() {
    let database = Database::start().await;
    let url = format!("--database-url={}", database.url);
    let target = Target::alone(&[&url]);
    let (status, told) = target.post("/phase/05/simple", json!({ "n": 1 })).await;
    assert_eq!(status, 409);
    assert!(text(&told, "error").contains("/phase/05/prepare"), "{told}");
    let made = target
        .does("/phase/05/prepare", json!({ "n": 20_000 }))
        .await;
    assert_eq!((&made["n"], &made["made"]), (&json!(20_000), &json!(true)));
    let again = target
        .does("/phase/05/prepare", json!({ "n": 20_000 }))
        .await;
    assert_eq!(again["made"], false);
    assert_eq!(
        database.number("SELECT count(*) FROM phases.orders").await,
        20_000
    );

    let told = target.does("/phase/05/simple", json!({ "n": 6 })).await;
    assert_eq!(
        told["quantity"],
        database
            .number("SELECT quantity::bigint FROM phases.orders WHERE id = 7")
            .await
    );
    let told = target.does("/phase/05/complex", json!({ "n": 6 })).await;
    assert!(number(&told, "orders") >= 1.0, "{told}");
    for path in [
        "/phase/05/write",
        "/phase/05/transaction",
        "/phase/05/checkout",
    ] {
        target.does(path, json!({ "n": 3 })).await;
    }
    assert_eq!(
        database.number("SELECT count(*) FROM phases.written").await,
        2
    );
    assert_eq!(
        database
            .number("SELECT -sum(stock) FROM phases.products")
            .await,
        1
    );
    let stats = target.tells("/phase/05/stats").await;
    for kept in ["simple", "complex", "write", "transaction", "checkout"] {
        assert_eq!(stats["durations"][kept]["n"], 1, "{kept}: {stats}");
    }
    target.change_faults(json!({ "no-index": true })).await;
    let slow = target.does("/phase/05/simple", json!({ "n": 6 })).await;
    assert_eq!(slow["ok"], true);
    database.run("DROP TABLE phases.orders").await;
    let (status, told) = target.post("/phase/05/simple", json!({ "n": 1 })).await;
    assert!(status.is_server_error(), "{status}: {told}");
}

#[tokio::test]
async fn without_a_database_the_phase_is_refused_and_nothing_else() {
    let target = Target::alone(&[]);
    let (status, told) = target.post("/phase/05/prepare", json!({})).await;
    assert_eq!(status, 503);
    assert!(text(&told, "error").contains("DATABASE_URL"), "{told}");
    target.tells("/health").await;
}

#[test]
fn a_wrong_address_is_refused_without_being_told() {
    let mut command = common::program();
    let output = command
        .args(["--nodes=0", "--database-url=mysql://a:geheim12@b/c"])
        .output();
    let output = output.expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("--database-url: an address such as"),
        "{errors}"
    );
    assert!(!errors.contains("geheim12"), "{errors}");
}
