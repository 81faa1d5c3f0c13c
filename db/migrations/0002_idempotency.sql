create table app.idempotency_store (
    tenant_id uuid not null,
    idempotency_key text not null,
    fingerprint bytea not null,
    status smallint not null,
    headers jsonb,
    body jsonb,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    constraint idempotency_store_pkey primary key (tenant_id, idempotency_key),
    constraint idempotency_store_idempotency_key_check check (length(idempotency_key) between 1 and 255)
);
comment on table app.idempotency_store is 'The answer that each idempotency key of a tenant got, until it expires.';
comment on column app.idempotency_store.fingerprint is 'SHA-256 of the function''s name and arguments.';

create index idempotency_store_expires_at on app.idempotency_store (expires_at);
