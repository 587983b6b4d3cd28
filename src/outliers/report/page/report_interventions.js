// Interventions that stand in the report's directory.

function startInterventions() {
  if (!showPart("interventions", INTERVENTIONS !== null)) return;
  const all = new Interventions(INTERVENTIONS);
  $("interventions-intro").append(` Measured on ${interventionText(INTERVENTIONS.text)}.`);
  startInterventionParts(all, state, { selected: chosenLayer, pick: pickLayer });
}
