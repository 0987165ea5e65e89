"""Helm and the schemas of Kubernetes for the tests beside this file: JSON in, JSON out."""

import json
import sys

import yaml


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def rendered(chart, values):
    """The documents and the notes of the chart with values, or the error."""
    import helm_python

    try:
        files = helm_python.Chart.load(chart).render(values, name="release", namespace="tokens")
    except helm_python.HelmError as error:
        return {"error": str(error)}
    notes = next(text for name, text in files.items() if name.endswith("NOTES.txt"))
    manifests = [text for name, text in files.items() if name.endswith(".yaml")]
    return {"documents": [document for text in manifests for document in documents(text)], "notes": notes}


def linted(chart, values):
    import helm_python

    report = helm_python.lint(chart, values, strict=True)
    return {"charts": report["total_charts_linted"], "errors": report["errors"],
            "warnings": [message for message in report["messages"] if message["severity"] > 1]}


def validated(manifests):
    """What the schemas of each version say, strictly; kinds that Kubernetes does not have are left out."""
    import kubernetes_validate

    versions = [f"1.{minor}" for minor in range(30, 38)]
    errors, count = [], 0
    for version in versions:
        for document in manifests:
            if "k8s.io" not in document["apiVersion"] and "." in document["apiVersion"]:
                continue
            try:
                kubernetes_validate.validate(document, version, strict=True)
                count += 1
            except kubernetes_validate.ValidationError as error:
                errors.append(f"{version} {document['kind']}: {error.message}")
    return {"errors": errors, "validated": count, "versions": versions}


def main():
    command, *arguments = sys.argv[1:]
    given = json.load(sys.stdin)
    if command == "documents":
        with open(arguments[0]) as file:
            answer = documents(file)
    elif command == "render":
        answer = [rendered(arguments[0], values) for values in given]
    elif command == "lint":
        answer = linted(arguments[0], given)
    elif command == "validate":
        answer = validated(given)
    else:
        sys.exit(f"no command {command}")
    json.dump(answer, sys.stdout)


main()
