"""What each account may do, as a list that a person can read."""

import value_sets


def rules(objects):
    """Of each account: each right, where it holds."""
    roles = {
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each["rules"]
        for each in objects
        if each["kind"] in ("Role", "ClusterRole")
    }
    lines = set()
    for binding in (each for each in objects if each["kind"] in ("RoleBinding", "ClusterRoleBinding")):
        namespace = binding["metadata"].get("namespace")
        role = (binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"])
        for subject in binding["subjects"]:
            account = f"{subject['namespace']}/{subject['name']}"
            for rule in roles[role]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        what = f"{resource}.{group}" if group else resource
                        names = "".join(f" {name}" for name in rule.get("resourceNames", []))
                        for verb in rule["verbs"]:
                            lines.add((account, namespace or "every namespace", f"{what}{names}", verb))
    return lines


def readable(lines):
    by_resource = {}
    for account, where, what, verb in sorted(lines):
        by_resource.setdefault((account, where), {}).setdefault(what, []).append(verb)
    text = []
    for (account, where), resources in by_resource.items():
        text.append(f"{account} in {where}")
        text += [f"  {what}: {', '.join(verbs)}" for what, verbs in resources.items()]
    return "\n".join(text) + "\n"


def test_rights_are_as_the_golden_has_them(helm, golden):
    sets = {
        "defaults": {},
        "combined": {"mode": "combined"},
        "without authentication": {"facade": {"auth": "none"}},
        **{name: value_sets.of_readme()[name] for name in ("Named namespaces alone", "No ClusterRole at all")},
    }
    parts = [f"# {name}\n\n{readable(rules(helm.objects(values)))}" for name, values in sets.items()]
    golden("rights.txt", "\n".join(parts))


def test_what_callers_reach_reads_no_secret_and_makes_no_pod(helm):
    held = {(what, verb) for account, _, what, verb in rules(helm.objects({})) if account.endswith("/sparkbatch-facade")}
    assert {verb for what, verb in held if what == "secrets"} == {"create"}
    assert not any(what == "pods" for what, _ in held)
    assert not any(what == "sparkbatches.sparkbatch.dev" and verb in ("create", "delete") for what, verb in held)


def test_nobody_has_every_verb_or_every_resource(helm):
    for values in value_sets.ALL.values():
        for line in rules(helm.objects(values)):
            assert "*" not in "".join(line), line


def test_without_cluster_roles_there_is_nothing_of_the_whole_cluster(helm):
    objects = helm.objects(value_sets.of_readme()["No ClusterRole at all"])
    assert all("namespace" in each["metadata"] for each in objects)


def test_without_rbac_there_are_no_roles(helm):
    kinds = {each["kind"] for each in helm.objects({"rbac": {"create": False}})}
    assert not kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def test_who_may_view_may_not_write_and_nobody_writes_a_status(helm):
    roles = {each["metadata"]["name"]: each for each in helm.objects({}) if each["kind"] == "ClusterRole"}
    verbs = {verb for rule in roles["sparkbatch-view"]["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    for name in ("sparkbatch-view", "sparkbatch-edit"):
        resources = {each for rule in roles[name]["rules"] for each in rule["resources"]}
        assert "sparkbatches/status" not in resources
        assert roles[name]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
