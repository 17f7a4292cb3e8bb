"use strict";
// Two versions of one clip without their names; what a viewer prefers becomes a file.

const pair = new Chorus(at("pair"), at("pair-play"), at("pair-seek"), at("pair-clock"));
const choices = [];
let trials = [];
let trial = null;
let unsaved = 0;

function shuffled(items) {
  const left = [...items];
  const result = [];
  while (left.length) result.push(...left.splice(Math.floor(Math.random() * left.length), 1));
  return result;
}

function trialsOf(kind) {
  const made = [];
  for (const clip of DATA.clips) {
    const source = clip.versions.find((version) => version.asked === null);
    const coded = clip.versions.filter((version) => version.asked !== null);
    coded.forEach((one, index) => {
      for (const other of coded.slice(index + 1)) {
        if (kind === "equal" && one.asked !== other.asked) continue;
        const [a, b] = shuffled([one, other]);
        made.push({ clip: clip.name, source, a, b });
      }
    });
  }
  return shuffled(made);
}

function next() {
  trial = trials.shift() || null;
  at("trial").hidden = trial === null;
  if (trial === null) {
    pair.show([]);
    at("count").textContent = "";
    at("told").textContent = choices.length
      ? `${choices.length} choices made.` : "There are no two versions to compare.";
    return;
  }
  trial.shownAt = performance.now();
  at("count").textContent = `${trials.length + 1} to go`;
  const films = [["Source", trial.source], ["A", trial.a], ["B", trial.b]];
  pair.heard = 0;
  pair.show(films.filter(([, version]) => version).map(([name, version]) => (
    { source: version.film, name }
  )));
  pair.go(0);
}

function choose(choice) {
  if (trial === null) return;
  const told = ({ coder, asked, kbps, film }) => ({ coder, asked_kbps: asked, kbps, film });
  const better = { a: trial.a, b: trial.b }[choice];
  choices.push({
    clip: trial.clip, a: told(trial.a), b: told(trial.b), choice,
    better: better ? told(better) : null,
    seconds: Math.round(performance.now() - trial.shownAt) / 1000,
  });
  unsaved += 1;
  at("save").disabled = false;
  at("told").textContent = `${choices.length} choice${choices.length > 1 ? "s" : ""} made, not saved yet.`;
  next();
}

function save() {
  const text = JSON.stringify({
    page: DATA.page, saved: new Date().toISOString(), question: "which would you rather have",
    choices,
  }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: "application/json" }));
  link.download = `choices-${DATA.page.slice(0, 8)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = 0;
  at("told").textContent = `${choices.length} choices saved.`;
}

at("begin").addEventListener("click", () => {
  chorus.pause();
  trials = trialsOf(at("against").value);
  next();
  if (trial !== null) at("pair").focus();
});
for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => choose(button.dataset.choice));
}
at("trial").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const choice = { a: "a", b: "b", n: "same" }[event.key.toLowerCase()];
  if (choice) choose(choice);
});
at("save").addEventListener("click", save);
addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
