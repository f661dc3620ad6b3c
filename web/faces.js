// Cut faces out of an image, level and resized, as emotions.predict does in Python.
// An image here is {data, width, height}: RGBA or RGB bytes, row by row.

const TILTED = 5; // degrees: a face tilted by less is not levelled, since eyes are found no more precisely
const FACE_SIZED = 48; // pixels: an image no larger is a cropped face
const SMALL = 96; // pixels: an image no larger is one, unless a smaller face is in it
const ONE = 2 ** 22; // weights are whole numbers and bytes are rounded between rows and columns, as Pillow does

/** Angle of the line through the eyes, [[x, y], [x, y]], the left one in the image first; in degrees, clockwise. */
export function tilt([[left, upper], [right, lower]]) {
  return (Math.atan2(lower - upper, right - left) * 180) / Math.PI;
}

/** Return the faces to classify in an image of this size, given the detected ones; null stands for the whole image. */
export function chooseFaces(faces, width, height) {
  const larger = Math.max(width, height);
  if (larger <= FACE_SIZED) return [null];
  if (larger > SMALL) return faces;
  const small = faces.filter((face) => face.side < larger / 2);
  return small.length ? small : [null];
}

/** Cut out the square of a face, {x, y, side, eyes}, as RGB. Beyond the image's edge the last pixels are repeated. */
export function crop(image, face) {
  const [x, y, side] = [Math.round(face.x), Math.round(face.y), Math.max(2, Math.round(face.side))];
  const degrees = tilt(face.eyes);
  const angle = Math.abs(degrees) < TILTED ? 0 : (degrees * Math.PI) / 180;
  const [cosine, sine, middle] = [Math.cos(angle), Math.sin(angle), (side - 1) / 2];
  const data = new Uint8ClampedArray(3 * side * side);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const [right, down] = [column - middle, row - middle];
      const from = [x + middle + cosine * right - sine * down, y + middle + sine * right + cosine * down];
      sample(image, ...from, data, 3 * (row * side + column));
    }
  }
  return { data, width: side, height: side };
}

/** Write the colour at (x, y), interpolated linearly between four pixels, to a place in `target`. */
function sample(image, x, y, target, place) {
  const channels = image.data.length / (image.width * image.height);
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const at = (column, row) =>
    channels * (clamp(row, image.height) * image.width + clamp(column, image.width));
  const corners = [at(left, top), at(left + 1, top), at(left, top + 1), at(left + 1, top + 1)];
  const [right, down] = [x - left, y - top];
  const weights = [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down];
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    for (let i = 0; i < 4; i++) sum += weights[i] * image.data[corners[i] + channel];
    target[place + channel] = sum;
  }
}

function clamp(index, length) {
  return Math.min(Math.max(index, 0), length - 1);
}

/** Resize to width x height, RGB: bilinear and antialiased, to the same bytes as Pillow's Image.resize(…, BILINEAR). */
export function resize(image, width, height) {
  const channels = image.data.length / (image.width * image.height);
  const across = along(image.data, image.height, image.width, width, channels * image.width, channels);
  const down = along(across, width, image.height, height, 3, 3 * width);
  const data = new Uint8ClampedArray(down.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = 3 * (column * height + row);
      data.set(down.subarray(from, from + 3), 3 * (row * width + column));
    }
  }
  return { data, width, height };
}

/** Resize lines of `size` pixels to `wanted` pixels each, given the steps from line to line and pixel to pixel. */
function along(data, lines, size, wanted, lineStep, pixelStep) {
  const result = new Uint8ClampedArray(3 * lines * wanted);
  triangles(size, wanted).forEach(({ first, weights }, position) => {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) {
          sum += weights[i] * data[line * lineStep + (first + i) * pixelStep + channel];
        }
        result[3 * (line * wanted + position) + channel] = Math.floor(sum / ONE + 0.5);
      }
    }
  });
  return result;
}

/** The triangle filter for each of `wanted` pixels of `size`: the first pixel under it; weights that sum to ONE. */
function triangles(size, wanted) {
  const scale = size / wanted;
  const support = Math.max(scale, 1); // wider than a pixel when an image shrinks: that is antialiasing
  return Array.from({ length: wanted }, (_, position) => {
    const centre = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(size, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: last - first }, (_, i) =>
      Math.max(0, 1 - Math.abs((first + i - centre + 0.5) / support)));
    const sum = raw.reduce((a, b) => a + b);
    return { first, weights: raw.map((weight) => Math.round((ONE * weight) / sum)) };
  });
}
