-- What became of asking an integration's service whether it is there.
alter table app.integrations
add column last_synced_at timestamptz,
add column sync_error text,
add constraint integrations_sync_error_check check (length(sync_error) between 1 and 1000);

comment on column app.integrations.last_synced_at is 'When the service last answered as it should.';
comment on column app.integrations.sync_error is 'Why it did not, the last time that it was asked; null: it did.';
comment on constraint integrations_sync_error_check on app.integrations is 'Expected 1 to 1,000 characters.';
