// What came out of the chosen files, in a sentence: it is read aloud, so it is short.

const ENDINGS = { // without faces to name: of one file, and of more
  "has no face": "have no face",
  "cannot be read": "cannot be read",
  "is playing": "are playing",
  "is ready to play": "are ready to play",
  "was left out": "were left out",
};

/** Return the sentence. Of each file there is its `name`, and its faces' `emotions` or an `ending`, from above. */
export function summary(outcomes) {
  if (outcomes.length === 1) return aboutOne(outcomes[0]);
  const faces = outcomes.flatMap(({ emotions }) => emotions ?? []).length;
  const endings = Object.entries(ENDINGS).map(([one, more]) => {
    const count = outcomes.filter(({ ending }) => ending === one).length;
    return count && `${count} ${count === 1 ? one : more}`;
  });
  const parts = [faces && counted(faces), endings.filter(Boolean).join(", ")];
  return `${outcomes.length} files: ${parts.filter(Boolean).join("; ")}.`;
}

function aboutOne({ name, emotions, ending }) {
  return ending ? `${name} ${ending}.` : `${name}: ${counted(emotions.length)}, ${tally(emotions)}.`;
}

function counted(faces) {
  return faces === 1 ? "1 face" : `${faces} faces`;
}

/** Say how often each emotion occurs; of a single face, its emotion alone. */
function tally(emotions) {
  if (emotions.length === 1) return emotions[0];
  const times = (wanted) => emotions.filter((emotion) => emotion === wanted).length;
  return [...new Set(emotions)].map((emotion) => `${times(emotion)} ${emotion}`).join(", ");
}
