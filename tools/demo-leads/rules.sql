-- Workspaces and rules of the demonstration: four partners that send leads, five desks that take them. Run again, it changes nothing.
insert into public.workspaces (id, name, workspace_type, routing_config)
values
    ('00000000-0000-4000-8000-000000000001', 'Harbourlight Leads', 'partner', '{"unmatched": "keep"}'),
    ('00000000-0000-4000-8000-000000000002', 'Signal Meadow', 'partner', '{}'),
    ('00000000-0000-4000-8000-000000000003', 'Brick and Beam Media', 'partner', '{}'),
    ('00000000-0000-4000-8000-000000000004', 'Oakline Data', 'partner',
        '{"unmatched": "fallback", "fallback_workspace_id": "00000000-0000-4000-8000-000000000015"}'),
    ('00000000-0000-4000-8000-000000000011', 'Enterprise desk', 'standard', '{}'),
    ('00000000-0000-4000-8000-000000000012', 'US sales, east', 'standard', '{}'),
    ('00000000-0000-4000-8000-000000000013', 'US sales, west', 'standard', '{}'),
    ('00000000-0000-4000-8000-000000000014', 'Europe sales', 'standard', '{}'),
    ('00000000-0000-4000-8000-000000000015', 'General desk', 'standard', '{}')
on conflict (id) do nothing;

insert into public.lead_routing_rules (id, workspace_id, rule_name, priority, conditions, destination_workspace_id)
select ('00000000-0000-4000-9000-' || lpad((partner * 100 + rule)::text, 12, '0'))::uuid,
    ('00000000-0000-4000-8000-' || lpad(partner::text, 12, '0'))::uuid, rule_name, 100 - rule, conditions::jsonb,
    ('00000000-0000-4000-8000-' || lpad(destination::text, 12, '0'))::uuid
from generate_series(1, 4) as partner
cross join (values
    (1, 'large companies', '{"company_sizes": ["501-1000", "1001+"], "revenue_ranges": ["$50M-$100M", "$100M+"]}', 11),
    (2, 'eastern states', '{"regions": ["Northeast", "Southeast", "Midwest"]}', 12),
    (3, 'western states', '{"regions": ["West", "Southwest"]}', 13),
    (4, 'Europe', '{"countries": ["GB", "Germany", "FR"]}', 14),
    (5, 'Canada, software and media', '{"countries": ["CA"], "industries": ["Software", "Media"]}', 13)
) as r (rule, rule_name, conditions, destination)
on conflict (id) do nothing;

-- One partner's leads all find a taker.
insert into public.lead_routing_rules (id, workspace_id, rule_name, priority, conditions, destination_workspace_id)
values ('00000000-0000-4000-9000-000000000299', '00000000-0000-4000-8000-000000000002', 'everything else', 0, '{}',
    '00000000-0000-4000-8000-000000000015')
on conflict (id) do nothing;
