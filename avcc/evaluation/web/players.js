"use strict";
// Films that keep step: one clock for all, one of them heard, everything by keyboard too.

const DATA = JSON.parse(document.getElementById("data").textContent);
const FRAME = 1 / DATA.frameRate;
const FAR = 0.25; // seconds apart from which a film jumps; nearer ones run a little faster or slower
const NEAR = 0.02;

class Chorus {
  static all = [];

  constructor(stage, play, seek, clock) {
    Object.assign(this, { stage, button: play, seek, clock, videos: [], heard: 0, playing: false });
    this.again = () => false;
    Chorus.all.push(this);
    play.addEventListener("click", () => this.toggle());
    seek.addEventListener("input", () => this.go(Number(seek.value)));
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  // films: [{ source, name, figures }]; the place in time is kept.
  show(films) {
    const time = this.time;
    this.pause();
    for (const video of this.videos) { video.removeAttribute("src"); video.load(); }
    this.stage.replaceChildren(...films.map((film, index) => this.player(film, index)));
    this.videos = [...this.stage.querySelectorAll("video")];
    this.hear(Math.min(this.heard, films.length - 1));
    for (const video of this.videos) {
      video.addEventListener("loadedmetadata", () => {
        this.seek.max = this.duration;
        video.currentTime = Math.min(time, video.duration);
        this.draw();
      });
    }
    this.draw();
  }

  player(film, index) {
    const box = document.createElement("div");
    box.className = "player";
    const video = document.createElement("video");
    Object.assign(video, { src: film.source, preload: "auto", playsInline: true, muted: true });
    video.setAttribute("aria-label", film.name);
    video.addEventListener("ended", () => this.ended(video));
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = film.name;
    const figures = document.createElement("span");
    figures.className = "figures";
    figures.textContent = film.figures || "";
    const hear = document.createElement("button");
    hear.type = "button";
    hear.textContent = `Hear (${index + 1})`;
    hear.setAttribute("aria-label", `Hear ${film.name}`);
    hear.addEventListener("click", () => this.hear(index));
    box.append(video, name, figures, hear);
    return box;
  }

  get lead() { return this.videos[this.heard]; }
  get time() { return this.lead ? this.lead.currentTime : 0; }
  get duration() {
    const known = this.videos.map((video) => video.duration).filter(Number.isFinite);
    return known.length ? Math.max(...known) : 0;
  }

  hear(index) {
    if (index < 0 || index >= this.stage.children.length) return;
    this.heard = index;
    [...this.stage.children].forEach((box, number) => {
      const on = number === index;
      const video = box.querySelector("video");
      video.muted = !on;
      video.playbackRate = 1;
      box.classList.toggle("heard", on);
      box.querySelector("button").setAttribute("aria-pressed", String(on));
    });
  }

  async toggle() { return this.playing ? this.pause() : this.play(); }

  async play() {
    if (!this.videos.length) return;
    if (this.time >= this.duration - FRAME) this.go(0);
    for (const other of Chorus.all) if (other !== this) other.pause();
    this.playing = true;
    this.draw();
    try {
      await Promise.all(this.videos.map((video) => video.play()));
    } catch (error) {
      // A pause, or other films, came before all had begun: that isn't a failure.
      if (error.name !== "AbortError") this.pause();
      return;
    }
    this.follow();
  }

  pause() {
    this.playing = false;
    for (const video of this.videos) video.pause();
    this.draw();
  }

  go(seconds) {
    const time = Math.min(Math.max(seconds, 0), this.duration);
    for (const video of this.videos) video.currentTime = Math.min(time, video.duration || time);
    this.draw(time);
  }

  ended(video) {
    if (video !== this.lead || !this.playing) return;
    this.pause();
    if (this.again()) { this.go(0); this.play(); }
  }

  follow() {
    if (!this.playing) return;
    for (const video of this.videos) {
      if (video === this.lead || video.ended || video.seeking) continue;
      const late = this.time - video.currentTime;
      if (Math.abs(late) > FAR) video.currentTime = this.time;
      video.playbackRate = Math.abs(late) > NEAR ? 1 + Math.max(-0.1, Math.min(0.1, late)) : 1;
    }
    this.draw();
    requestAnimationFrame(() => this.follow());
  }

  draw(time = this.time) {
    this.button.textContent = this.playing ? "Pause" : "Play";
    if (document.activeElement !== this.seek || this.playing) this.seek.value = time;
    this.clock.textContent = `${time.toFixed(2)} of ${this.duration.toFixed(2)} s`;
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const onButton = event.target instanceof HTMLButtonElement;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ",": -FRAME, ".": FRAME };
    if (event.key === " " && !onButton) this.toggle();
    else if (event.key in steps) this.go(this.time + steps[event.key]);
    else if (/^[1-9]$/.test(event.key)) this.hear(Number(event.key) - 1);
    else return;
    event.preventDefault();
  }
}

function labelOf(version) {
  return version.asked === null ? version.coder : `${version.coder} ${version.asked} kbps`;
}

const at = (id) => document.getElementById(id);
const chorus = new Chorus(at("stage"), at("play"), at("seek"), at("clock"));
chorus.again = () => at("loop").checked;

function chosenClip() { return DATA.clips[at("clip").selectedIndex]; }

function showChosen() {
  const ticked = new Set([...at("shown").querySelectorAll("input:checked")].map((box) => box.value));
  const films = chosenClip().versions.filter((version) => ticked.has(labelOf(version)));
  chorus.show(films.map((version) => ({
    source: version.film, name: labelOf(version), figures: version.figures,
  })));
}

function offerVersions() {
  const before = new Map([...at("shown").querySelectorAll("input")].map((b) => [b.value, b.checked]));
  const legend = at("shown").querySelector("legend");
  const boxes = chosenClip().versions.map((version, index) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    const name = labelOf(version);
    Object.assign(box, { type: "checkbox", value: name });
    box.checked = before.has(name) ? before.get(name) : index < DATA.firstShown;
    box.addEventListener("change", showChosen);
    label.append(box, ` ${name}`);
    return label;
  });
  at("shown").replaceChildren(legend, ...boxes);
  showChosen();
}

for (const clip of DATA.clips) at("clip").append(new Option(clip.name));
at("clip").addEventListener("change", () => { chorus.pause(); offerVersions(); chorus.go(0); });
if (DATA.clips.length) offerVersions();
