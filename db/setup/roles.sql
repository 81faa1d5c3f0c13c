-- The roles, their memberships, and the deploying role's way to them. Roles belong to the whole cluster: what exists
-- already is left alone, what would open a door is refused.
-- No password is set here: a login role gets one by "alter role … password", or needs none by the server's pg_hba.conf.
do $do$
declare
    _without_login constant text[] := array[
        'cardbase_owner',
        'cardbase_api',
        'cardbase_maintenance',
        'cardbase_finder',
        'cardbase_authenticator',
        'cardbase_dispatcher'
    ];
    _with_login constant text[] := array['cardbase_gateway', 'cardbase_service', 'cardbase_worker'];
    -- Since server 16 a member may lack the right to "set role"; before, there was no such difference.
    _set_role constant text := case
        when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER'
    end;
    _name text;
    _member text;
    _role pg_roles;
    _changes text;
begin
    foreach _name in array _without_login || _with_login loop
        select * into _role from pg_roles where pg_roles.rolname = _name;

        if not found then
            -- Only owners of objects inherit: a login role has only what is granted to it by name.
            execute format(
                'create role %I %s', _name, case when _name = any(_with_login) then 'login noinherit' else 'nologin' end
            );
            raise info 'role %: created', _name;
            continue;
        end if;

        if _role.rolsuper or _role.rolbypassrls or _role.rolreplication then
            raise exception using
                errcode = 'object_not_in_prerequisite_state',
                message = format('role %I is a superuser, bypasses row-level security or may replicate', _name),
                detail = 'Row-level security would not hold against it.',
                hint = format('Have a superuser run: alter role %I nosuperuser nobypassrls noreplication;', _name);
        end if;

        _changes := concat_ws(
            ' ',
            case when _role.rolcreatedb then 'nocreatedb' end,
            case when _role.rolcreaterole then 'nocreaterole' end,
            case
                when _role.rolcanlogin and _name = any(_without_login) then 'nologin'
                when not _role.rolcanlogin and _name = any(_with_login) then 'login'
            end,
            case
                when _role.rolinherit and _name = any(_with_login) then 'noinherit'
                when not _role.rolinherit and _name = any(_without_login) then 'inherit'
            end
        );
        if _changes <> '' then
            execute format('alter role %I %s', _name, _changes);
            raise info 'role %: %', _name, _changes;
        end if;
    end loop;

    -- The owner makes functions and hands them to the role they run as.
    foreach _name in array array[
        'cardbase_api', 'cardbase_maintenance', 'cardbase_finder', 'cardbase_authenticator', 'cardbase_dispatcher'
    ] loop
        if not pg_has_role('cardbase_owner', _name, 'USAGE') or not pg_has_role('cardbase_owner', _name, _set_role) then
            execute format('grant %I to cardbase_owner', _name);
            raise info 'role %: granted to cardbase_owner', _name;
        end if;
    end loop;

    if not pg_has_role(current_user, 'cardbase_owner', _set_role) then
        execute format('grant cardbase_owner to %I', current_user);
        raise info 'role cardbase_owner: granted to %', current_user;
    end if;

    select member.rolname, role.rolname
    into _member, _name
    from pg_auth_members as membership
    join pg_roles as member on member.oid = membership.member
    join pg_roles as role on role.oid = membership.roleid
    where role.rolname = any(_without_login)
        and member.rolname = any(_without_login || _with_login)
        and member.rolname <> 'cardbase_owner'
    limit 1;
    if found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('role %I is a member of %I', _member, _name),
            detail = 'It would reach tables that only functions may reach.',
            hint = format('Run: revoke %I from %I;', _name, _member);
    end if;
end;
$do$;
