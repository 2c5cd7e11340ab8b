CREATE TABLE balance (
  account VARCHAR NOT NULL, amount_ucr BIGINT NOT NULL, PRIMARY KEY (account)
);
CREATE TABLE chain_head (
  day VARCHAR NOT NULL, cohort VARCHAR NOT NULL, transfer_id INTEGER NOT NULL,
  transfers INTEGER NOT NULL, moved_ucr BIGINT NOT NULL, hash VARCHAR NOT NULL,
  PRIMARY KEY (day, cohort)
);
CREATE TABLE credit_grant (
  id INTEGER NOT NULL, grant_id VARCHAR NOT NULL, startup VARCHAR NOT NULL,
  cohort VARCHAR NOT NULL, category VARCHAR NOT NULL, priority INTEGER NOT NULL,
  amount_ucr BIGINT NOT NULL, effective_s BIGINT NOT NULL, expires_s BIGINT NOT NULL,
  rolls_to VARCHAR, roll_ppm INTEGER, roll_most_ucr BIGINT, PRIMARY KEY (id),
  UNIQUE (startup, grant_id)
);
CREATE TABLE decision (
  id INTEGER NOT NULL, at_s BIGINT NOT NULL, mode VARCHAR NOT NULL, verb VARCHAR NOT NULL,
  startup VARCHAR NOT NULL, server_id VARCHAR NOT NULL, rule VARCHAR NOT NULL,
  episode VARCHAR NOT NULL, inputs VARCHAR NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_decision_server_id ON decision (server_id);
CREATE INDEX ix_decision_startup ON decision (startup);
CREATE TABLE hold (
  id VARCHAR NOT NULL, startup VARCHAR NOT NULL, cohort VARCHAR NOT NULL,
  amount_ucr BIGINT NOT NULL, placed_s BIGINT NOT NULL, expires_s BIGINT NOT NULL,
  state VARCHAR NOT NULL, settled_ucr BIGINT NOT NULL, ended_s BIGINT, reason VARCHAR NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX ix_hold_startup ON hold (startup);
CREATE INDEX ix_hold_state ON hold (state);
CREATE TABLE inbox_answer (
  id VARCHAR NOT NULL, startup VARCHAR NOT NULL, kind VARCHAR NOT NULL, at_s BIGINT NOT NULL,
  state VARCHAR NOT NULL, text VARCHAR NOT NULL, reference INTEGER, PRIMARY KEY (id)
);
CREATE TABLE lease (
  name VARCHAR NOT NULL, holder VARCHAR NOT NULL, epoch INTEGER NOT NULL,
  expires_s BIGINT NOT NULL, PRIMARY KEY (name)
);
CREATE TABLE listing (
  flavor VARCHAR NOT NULL, listed_s BIGINT NOT NULL, rate_ucr_per_h BIGINT NOT NULL,
  PRIMARY KEY (flavor, listed_s)
);
CREATE TABLE notice (
  id INTEGER NOT NULL, startup VARCHAR NOT NULL, server_id VARCHAR NOT NULL,
  server_name VARCHAR NOT NULL, zone VARCHAR NOT NULL, rule VARCHAR NOT NULL,
  episode VARCHAR NOT NULL, mode VARCHAR NOT NULL, opened_s BIGINT NOT NULL,
  deadline_s BIGINT NOT NULL, state VARCHAR NOT NULL, facts VARCHAR NOT NULL, off_s BIGINT,
  reminded_s BIGINT, snoozed_s BIGINT NOT NULL, acknowledged_s BIGINT,
  acknowledged_by VARCHAR NOT NULL, is_breached BOOLEAN NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_notice_startup ON notice (startup);
CREATE INDEX ix_notice_state ON notice (state);
CREATE TABLE offer (
  flavor VARCHAR NOT NULL, gpus INTEGER NOT NULL, scratch_bytes BIGINT NOT NULL,
  PRIMARY KEY (flavor)
);
CREATE TABLE outbox (
  id INTEGER NOT NULL, event VARCHAR NOT NULL, kind VARCHAR NOT NULL, audience VARCHAR NOT NULL,
  recipient VARCHAR NOT NULL, startup VARCHAR NOT NULL, server_name VARCHAR NOT NULL,
  rule VARCHAR NOT NULL, notice_id INTEGER NOT NULL, created_s BIGINT NOT NULL,
  due_s BIGINT NOT NULL, deadline_s BIGINT NOT NULL, is_urgent BOOLEAN NOT NULL,
  facts VARCHAR NOT NULL, state VARCHAR NOT NULL, batch VARCHAR NOT NULL,
  attempts INTEGER NOT NULL, claimed_s BIGINT, epoch INTEGER NOT NULL, ended_s BIGINT,
  detail VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE (event)
);
CREATE INDEX ix_outbox_batch ON outbox (batch);
CREATE INDEX ix_outbox_due ON outbox (state, due_s);
CREATE INDEX ix_outbox_notice_id ON outbox (notice_id);
CREATE INDEX ix_outbox_recipient ON outbox (recipient, state);
CREATE TABLE override (
  id INTEGER NOT NULL, family VARCHAR NOT NULL, subject VARCHAR NOT NULL, value VARCHAR NOT NULL,
  at_s BIGINT NOT NULL, until_s BIGINT, actor VARCHAR NOT NULL, reason VARCHAR NOT NULL,
  "before" VARCHAR NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_override_subject ON override (subject);
CREATE TABLE overuse (
  startup VARCHAR NOT NULL, pool VARCHAR NOT NULL, since_s BIGINT NOT NULL, gpus INTEGER NOT NULL,
  owner VARCHAR, deadline_s BIGINT NOT NULL, share_gpus INTEGER NOT NULL,
  nominal_gpus INTEGER NOT NULL, limited_by VARCHAR NOT NULL, ended_s BIGINT,
  PRIMARY KEY (startup, pool, since_s)
);
CREATE INDEX ix_overuse_ended_s ON overuse (ended_s);
CREATE TABLE price (
  id INTEGER NOT NULL, flavor VARCHAR NOT NULL, from_s BIGINT NOT NULL,
  rate_ucr_per_h BIGINT NOT NULL, recorded_s BIGINT NOT NULL, bearer VARCHAR NOT NULL,
  source VARCHAR NOT NULL, reason VARCHAR NOT NULL, operator_action VARCHAR, body VARCHAR NOT NULL,
  answer VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE (operator_action)
);
CREATE TABLE program_version (
  id INTEGER NOT NULL, digest VARCHAR NOT NULL, body VARCHAR NOT NULL, applied_s BIGINT NOT NULL,
  actor VARCHAR NOT NULL, PRIMARY KEY (id)
);
CREATE TABLE request (
  id INTEGER NOT NULL, "key" VARCHAR, startup VARCHAR NOT NULL, pool VARCHAR NOT NULL,
  gpus INTEGER NOT NULL, duration_s BIGINT NOT NULL, reason VARCHAR NOT NULL,
  actor VARCHAR NOT NULL, opened_s BIGINT NOT NULL, state VARCHAR NOT NULL, met_s BIGINT,
  ended_s BIGINT, detail VARCHAR NOT NULL, quota_gpus INTEGER, PRIMARY KEY (id), UNIQUE ("key")
);
CREATE INDEX ix_request_startup ON request (startup);
CREATE INDEX ix_request_state ON request (state);
CREATE TABLE revoked_rules (
  id INTEGER NOT NULL, startup VARCHAR NOT NULL, policy_id VARCHAR NOT NULL,
  policy_name VARCHAR NOT NULL, "before" VARCHAR NOT NULL, revoked VARCHAR NOT NULL,
  recorded_s BIGINT NOT NULL, state VARCHAR NOT NULL, ended_s BIGINT, outcome VARCHAR NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX ix_revoked_rules_startup ON revoked_rules (startup);
CREATE INDEX ix_revoked_rules_state ON revoked_rules (state);
CREATE TABLE run (
  id VARCHAR NOT NULL, server_id VARCHAR NOT NULL, server_name VARCHAR NOT NULL,
  zone VARCHAR NOT NULL, project_id VARCHAR NOT NULL, startup VARCHAR NOT NULL,
  flavor VARCHAR NOT NULL, gpus INTEGER NOT NULL, rate_ucr_per_h BIGINT, start_s BIGINT NOT NULL,
  up_since_s BIGINT NOT NULL, started_by VARCHAR NOT NULL, posted_until_s BIGINT NOT NULL,
  state VARCHAR NOT NULL, end_s BIGINT, start_error_s INTEGER NOT NULL,
  end_error_s INTEGER NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_run_end_s ON run (end_s);
CREATE INDEX ix_run_server_start ON run (server_id, start_s);
CREATE INDEX ix_run_startup ON run (startup);
CREATE TABLE statement (
  startup VARCHAR NOT NULL, month VARCHAR NOT NULL, closed_s BIGINT NOT NULL,
  through_id INTEGER NOT NULL, body VARCHAR NOT NULL, hash VARCHAR NOT NULL,
  PRIMARY KEY (startup, month)
);
CREATE INDEX ix_statement_month ON statement (month);
CREATE INDEX ix_statement_through_id ON statement (through_id);
CREATE TABLE token (
  id VARCHAR NOT NULL, hash VARCHAR NOT NULL, name VARCHAR NOT NULL, startup VARCHAR NOT NULL,
  scopes VARCHAR NOT NULL, created_s BIGINT NOT NULL, expires_s BIGINT NOT NULL, revoked_s BIGINT,
  actor VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE (hash)
);
CREATE INDEX ix_token_startup ON token (startup);
CREATE TABLE transfer (
  id INTEGER NOT NULL, "key" VARCHAR NOT NULL, kind VARCHAR NOT NULL, cohort VARCHAR NOT NULL,
  startup VARCHAR NOT NULL, at_s BIGINT NOT NULL, recorded_s BIGINT NOT NULL,
  epoch INTEGER NOT NULL, actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, detail VARCHAR NOT NULL,
  previous_hash VARCHAR NOT NULL, hash VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE ("key")
);
CREATE INDEX ix_transfer_cohort ON transfer (cohort);
CREATE INDEX ix_transfer_recorded_s ON transfer (recorded_s);
CREATE INDEX ix_transfer_startup ON transfer (startup);
CREATE TABLE unconfirmed (
  server_id VARCHAR NOT NULL, start_s BIGINT NOT NULL, end_s BIGINT NOT NULL,
  startup VARCHAR NOT NULL, flavor VARCHAR NOT NULL, rate_ucr_per_h BIGINT,
  PRIMARY KEY (server_id, start_s)
);
CREATE INDEX ix_unconfirmed_startup ON unconfirmed (startup);
CREATE TABLE zone (
  name VARCHAR NOT NULL, confirmed_until_s BIGINT, swept_s BIGINT NOT NULL,
  outcome VARCHAR NOT NULL, detail VARCHAR NOT NULL, PRIMARY KEY (name)
);
CREATE TABLE entry (
  transfer_id INTEGER NOT NULL, position INTEGER NOT NULL, account VARCHAR NOT NULL,
  amount_ucr BIGINT NOT NULL, PRIMARY KEY (transfer_id, position),
  FOREIGN KEY(transfer_id) REFERENCES transfer (id)
);
CREATE INDEX ix_entry_account ON entry (account);
CREATE TABLE intent (
  id INTEGER NOT NULL, notice_id INTEGER, action VARCHAR NOT NULL, startup VARCHAR NOT NULL,
  server_id VARCHAR NOT NULL, zone VARCHAR NOT NULL, replaces VARCHAR NOT NULL,
  decided_s BIGINT NOT NULL, not_after_s BIGINT NOT NULL, state VARCHAR NOT NULL, sent_s BIGINT,
  ended_s BIGINT, result VARCHAR, PRIMARY KEY (id),
  FOREIGN KEY(notice_id) REFERENCES notice (id)
);
CREATE INDEX ix_intent_server_id ON intent (server_id);
CREATE INDEX ix_intent_startup ON intent (startup);
CREATE INDEX ix_intent_state ON intent (state);
CREATE TABLE operator_action (
  "key" VARCHAR NOT NULL, transfer_id INTEGER NOT NULL, PRIMARY KEY ("key"),
  FOREIGN KEY(transfer_id) REFERENCES transfer (id)
);
