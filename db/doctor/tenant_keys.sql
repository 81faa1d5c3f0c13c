-- Tables whose keys don't begin with the tenant: rows of two tenants could collide, or refer to each other.
with relations as (
    select relation.oid
    from pg_class as relation
    where
        relation.relnamespace = to_regnamespace('app')
        and relation.relkind in ('r', 'p')
)

select
    format('table %s', relations.oid::regclass) as subject,
    'it has no column tenant_id uuid not null' as problem,
    'Add the column in a migration, first in every key.' as remedy
from relations
where
    not exists (
        select
        from pg_attribute as attribute
        where
            attribute.attrelid = relations.oid
            and attribute.attname = 'tenant_id'
            and attribute.atttypid = to_regtype('uuid')
            and attribute.attnotnull
    )
union all
select
    format('table %s', relations.oid::regclass),
    'it has no primary key',
    'Add one in a migration, beginning with tenant_id.'
from relations
where
    not exists (
        select
        from pg_index as index
        where index.indrelid = relations.oid and index.indisprimary
    )
union all
select
    format('table %s', relations.oid::regclass),
    format('%s does not begin with tenant_id', index.indexrelid::regclass),
    'Recreate it in a migration, beginning with tenant_id.'
from relations
inner join pg_index as index on relations.oid = index.indrelid
left join pg_attribute as attribute on index.indrelid = attribute.attrelid and attribute.attnum = index.indkey[0]
where
    (index.indisunique or index.indisexclusion)
    and attribute.attname is distinct from 'tenant_id'
union all
select
    format('table %s', relations.oid::regclass),
    format('foreign key %I does not begin with tenant_id on both sides', reference.conname),
    'Recreate it in a migration: (tenant_id, …) references … (tenant_id, …).'
from relations
inner join pg_constraint as reference on relations.oid = reference.conrelid and reference.contype = 'f'
inner join pg_attribute as referring
    on reference.conrelid = referring.attrelid and referring.attnum = reference.conkey[1]
inner join pg_attribute as referred
    on reference.confrelid = referred.attrelid and referred.attnum = reference.confkey[1]
where referring.attname <> 'tenant_id' or referred.attname <> 'tenant_id'
order by 1, 2
