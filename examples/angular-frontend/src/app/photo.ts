/** Read a file as base64, as the router wants it: without the `data:` prefix. */
export function asBase64(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(',', 2)[1] ?? '');
    reader.onerror = () => reject(new Error('This file cannot be read; choose it again.'));
    reader.readAsDataURL(file);
  });
}
