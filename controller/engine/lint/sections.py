"""Parts of a policy that have no effect at all."""

from collections.abc import Iterator

from controller.engine.evaluate import rule_path
from controller.engine.lint.context import Context
from controller.engine.lint.notes import about_policy
from controller.objects.findings import Finding
from controller.objects.kinds import Direction


def check_sections(context: Context) -> Iterator[Finding]:
    """section-ignored: rules of a direction that policyTypes does not list (rule 2.4). O(policies)."""
    for policy in context.policies:
        for direction in Direction:
            rules = policy.ingress if direction is Direction.INGRESS else policy.egress
            if rules and direction not in policy.directions:
                section = direction.lower()
                message = (
                    f"what stands under {section} counts for nothing and isolates nobody: "
                    f"policyTypes does not list {direction}"
                )
                remedy = f"add {direction} to policyTypes, or remove the section"
                yield about_policy(policy, "section-ignored", rule_path(direction, rules[0]), message, remedy)
