// The diagnosis: what rules say of the numbers, and what to do.

function startFindings() {
  const findings = R.json.findings ?? null;
  if (!showPart("findings-card", findings !== null)) return;
  if (!findings.length) $("findings").append(el("p", { class: "empty" }, "None: nothing is beyond the rules' thresholds."));
  // Notes lie folded: they are good to know, and nothing has to be done about most of them.
  for (const finding of findings) {
    const { layer, head, input } = finding.place;
    const beyond = `${number(finding.value)} ${finding.value > finding.threshold ? ">" : "<"} ${limit(finding.threshold)}`;
    const where = [
      layer === undefined ? null : ["worst in ", layerButton(layer)], head === undefined ? null : [`, head ${head}`],
      input ? [`, on ${R.the(input)}`] : null,
    ];
    $("findings").append(el("details", { class: `finding ${finding.severity}`, "data-rule": finding.id, open: finding.severity !== "note" },
      el("summary", {}, el("span", { class: "severity" }, finding.severity), el("span", {}, finding.title)),
      el("p", {}, withLayers(finding.text)),
      finding.advice ? el("p", { class: "advice" }, el("strong", {}, "What to do: "), finding.advice) : null,
      el("p", { class: "hint" }, `Rule ${finding.id}: ${finding.metric} ${beyond}`, finding.source ? ` (${finding.source})` : "",
        where.some(Boolean) ? "; " : "", where.filter(Boolean).flat(), "."),
    ));
  }
}
