"""Texts that are newer than the default model, joined from files of public repositories at a fixed
commit.

A commit's files never change, and each text has a digest: whoever repeats a measurement has the
same bytes.
"""

EIPS_COMMIT = "f767a1e8078e17c9b381a91d35a09492189ede1b"
"""Of github.com/ethereum/EIPs, August 2026."""

EIPS_2026 = (
    8120,
    8125,
    8134,
    8138,
    8142,
    8148,
    8151,
    8163,
    8173,
    8178,
    8184,
    8189,
    8200,
    8205,
    8219,
    8237,
    8246,
    8252,
    8254,
    8261,
    8268,
    8279,
    8289,
    8295,
    8297,
    8304,
    8311,
    8333,
    8347,
    8368,
    8372,
)
"""Ethereum Improvement Proposals created from January to August 2026: about every second, in their
numbers' order.
"""

RUST_BLOG_COMMIT = "0243724c2e50ad2b7ebd3d9dbc7cd88aed7605a3"
"""Of github.com/rust-lang/blog.rust-lang.org, August 2026."""

RUST_BLOG_2026 = (
    "inside-rust/this-development-cycle-in-cargo-1.90.md",
    "announcing-the-new-rust-project-directors-2025.md",
    "inside-rust/infrastructure-team-2025-q3-recap-and-q4-plan.md",
    "inside-rust/clippy-warming-up/index.md",
    "project-goals-2025h2.md",
    "Rust-1.91.1.md",
    "launching-the-2025-state-of-rust-survey.md",
    "Project-Goals-2025-October-Update.md",
    "inside-rust/program-management-update-2025-10.md",
    "inside-rust/this-development-cycle-in-cargo-1.92.md",
    "inside-rust/project-director-update@6.md",
    "lessons-learned-from-the-rust-vision-doc-process.md",
    "Updating-musl-1.2.5.md",
    "making-it-easier-to-sponsor-rust-contributors.md",
    "Rust-1.92.0.md",
    "inside-rust/please-submit-2026-project-goal-proposals.md",
    "inside-rust/project-director-update@7.md",
    "inside-rust/rustup-1.29.0-beta-cft.md",
    "inside-rust/this-development-cycle-in-cargo-1.93.md",
    "inside-rust/infrastructure-team-2025-q4-recap-and-q1-2026-plan/index.md",
    "crates-io-development-update-2026-01/index.md",
    "inside-rust/2025-rust-foundation-annual-report.md",
    "inside-rust/project-director-update@8.md",
    "Rust-1.93.1.md",
    "inside-rust/leadership-council-repr-selection@8.md",
    "Rust-participates-in-GSoC-2026.md",
    "2025-state-of-rust-survey-results/index.md",
    "Rustup-1.29.0.md",
    "rust-challenges.md",
    "inside-rust/project-director-update@9.md",
    "inside-rust/program-management-update-2026-02.md",
    "docs-rs-reduced-default-targets.md",
    "inside-rust/program-management-update-2026-03.md",
    "Rust-1.95.0.md",
    "gsoc-2026-selected-projects.md",
    "inside-rust/project-director-update@10.md",
    "inside-rust/program-management-update-2026-04.md",
    "cve-2026-5222.md",
    "inside-rust/1.96.0-prerelease.md",
    "launching-the-rust-foundation-maintainers-fund.md",
    "inside-rust/how-josh-helps-rust-manage-code-across-multiple-repositories.md",
    "vision-doc-journeys-to-learning-rust.md",
    "Rust-1.96.1.md",
    "inside-rust/rustup-update-1.30.md",
    "inside-rust/unite-for-clippy/index.md",
    "inside-rust/maintainer-spotlight-gen-li-rami3l/index.md",
    "crates-io-development-update-2026-07/index.md",
    "inside-rust/rustup-1.29.1-beta-cft.md",
    "inside-rust/infrastructure-team-2026-q2-recap-and-q3-plan/index.md",
    "inside-rust/all-hands-2026-retrospective/index.md",
    "inside-rust/funding-team-progress-update-july-2026.md",
    "inside-rust/call-for-testing-impl-and-mut-restrictions.md",
    "inside-rust/leadership-council-repr-selection@9.md",
    "inside-rust/1.98.0-prerelease.md",
    "Rust-1.98.0.md",
    "enabling-next-solver-on-nightly/index.md",
)
"""Posts of the Rust blog from October 2025 to August 2026: about every second, by date."""
