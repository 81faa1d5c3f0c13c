-- A constraint's comment is what the caller is told when a value fails it (app.refuse_violation).

create table app.users (
    tenant_id uuid not null,
    user_id uuid not null default app.uuid_v7(),
    email text not null,
    display_name text,
    avatar_url text,
    first_name text,
    last_name text,
    -- Each word has a space before it, so that "begins a word" is "comes after a space".
    search_text text not null generated always as (
        lower(
            ' '
            || coalesce(display_name || ' ', '')
            || coalesce(first_name || ' ', '')
            || coalesce(last_name || ' ', '')
            || email
        )
    ) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint users_pkey primary key (tenant_id, user_id),
    constraint users_email_check check (
        email = lower(email) and email ~ '^[!-?A-~]+@[!-?A-~]+$' and length(email) <= 254
    ),
    constraint users_display_name_check check (length(display_name) between 1 and 100),
    constraint users_avatar_url_check check (avatar_url ~ '^https?://[!-~]+$' and length(avatar_url) <= 2048),
    constraint users_first_name_check check (length(first_name) between 1 and 100),
    constraint users_last_name_check check (length(last_name) between 1 and 100)
);
comment on table app.users is 'The profiles of a tenant''s users; who signs in elsewhere has none.';
comment on column app.users.search_text is 'Names and email in lower case, for app.find_users.';
comment on constraint users_email_check on app.users is 'Expected an email address of at most 254 characters.';
comment on constraint users_display_name_check on app.users is 'Expected 1 to 100 characters.';
comment on constraint users_avatar_url_check on app.users is
'Expected an address that begins with https:// or http://, of at most 2,048 characters.';
comment on constraint users_first_name_check on app.users is 'Expected 1 to 100 characters.';
comment on constraint users_last_name_check on app.users is 'Expected 1 to 100 characters.';

-- The class of operators is found wherever the extension was put.
do $do$
begin
    execute format(
        'create index users_search_text on app.users using gin (tenant_id, search_text %I.gin_trgm_ops) '
        'where deleted_at is null',
        (select pg_namespace.nspname
        from pg_extension
        inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
        where pg_extension.extname = 'pg_trgm')
    );
end;
$do$;

create table app.user_preferences (
    tenant_id uuid not null,
    user_id uuid not null,
    theme text not null default 'system',
    language text not null default 'en',
    email_notifications boolean not null default true,
    push_notifications boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint user_preferences_pkey primary key (tenant_id, user_id),
    constraint user_preferences_theme_check check (theme in ('light', 'dark', 'system')),
    constraint user_preferences_language_check check (
        language ~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$' and length(language) <= 35
    )
);
comment on table app.user_preferences is 'What each user prefers; no row: the defaults.';
comment on constraint user_preferences_theme_check on app.user_preferences is 'Expected one of light, dark, system.';
comment on constraint user_preferences_language_check on app.user_preferences is
'Expected a language tag such as en or pt-BR.';

create table app.refresh_tokens (
    tenant_id uuid not null,
    user_id uuid not null,
    token_hash bytea not null,
    family_id uuid not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz,
    revoked_at timestamptz,
    constraint refresh_tokens_pkey primary key (tenant_id, user_id, token_hash),
    constraint refresh_tokens_token_hash_check check (length(token_hash) = 32)
);
comment on table app.refresh_tokens is
'Refresh tokens by their SHA-256. Those that came of one sign-in are a family: one replayed revokes them all.';
comment on column app.refresh_tokens.used_at is 'When it was exchanged for the next one of its family.';

create index refresh_tokens_family on app.refresh_tokens (tenant_id, user_id, family_id);
create index refresh_tokens_expires_at on app.refresh_tokens (expires_at);

-- Sign-in comes before the tenant is known. The rows of these two tables are no tenant's: they are kept under the UUID
-- of zeros, and only the functions of cardbase_authenticator reach them.
create table app.credentials (
    tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
    email text not null,
    password_hash text not null,
    home_tenant_id uuid not null,
    user_id uuid not null,
    created_at timestamptz not null default now(),
    constraint credentials_pkey primary key (tenant_id, email),
    constraint credentials_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000'),
    constraint credentials_email_check check (email = lower(email)),
    constraint credentials_password_hash_check check (password_hash like '$argon2id$%')
);
comment on table app.credentials is
'What each user of any tenant signs in with. An email address is one user''s among all tenants.';
comment on column app.credentials.home_tenant_id is 'The tenant whose user it is.';

create table app.login_attempts (
    tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
    subject bytea not null,
    attempts integer not null,
    expires_at timestamptz not null,
    constraint login_attempts_pkey primary key (tenant_id, subject),
    constraint login_attempts_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000')
);
comment on table app.login_attempts is 'How often an account or an address tried to sign in, within a window of time.';
comment on column app.login_attempts.subject is 'SHA-256 of what is counted: an account, known or not, or an address.';
comment on column app.login_attempts.expires_at is 'The end of the window.';

create index login_attempts_expires_at on app.login_attempts (expires_at);
